"""Metadata that every object has (meta/v1), and what makes a struct a kind."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, NamedTuple

import msgspec

from ketch.kube.codec import KubeStruct, encode

NO_LABELS: Mapping[str, str] = {}


class ObjectKey(NamedTuple):
    """Which object: all a reconciler is ever told. ``namespace`` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Resource(msgspec.Struct, frozen=True):
    """How a kind is reached: group (empty for core), version, kind, plural path segment, scope."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects: ``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The absolute request path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


class OwnerReference(KubeStruct, frozen=True, kw_only=True):
    """The object this one goes with."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(KubeStruct, frozen=True, kw_only=True):
    """metav1.ObjectMeta. ``managedFields`` are the server's: what comes without them leaves them as they are."""

    discarded: ClassVar[frozenset[str]] = frozenset({"managedFields"})

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = NO_LABELS
    annotations: Mapping[str, str] = NO_LABELS
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class LabelSelectorRequirement(KubeStruct, frozen=True, kw_only=True):
    """One expression: operator is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(KubeStruct, frozen=True, kw_only=True):
    """metav1.LabelSelector: all of match_labels and all of match_expressions. Empty selects everything."""

    match_labels: Mapping[str, str] = NO_LABELS
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class Condition(KubeStruct, frozen=True, kw_only=True):
    """metav1.Condition; ``status`` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None


class KubeObject(KubeStruct, frozen=True, kw_only=True):
    """Base of every kind. Subclasses set ``resource`` and declare ``spec``, ``status`` and the like."""

    resource: ClassVar[Resource]
    discarded: ClassVar[frozenset[str]] = frozenset({"apiVersion", "kind"})

    metadata: ObjectMeta = ObjectMeta()

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.metadata.namespace, self.metadata.name)

    def to_json(self) -> dict[str, Any]:
        """The object as the API server takes it, with apiVersion and kind."""
        return {**encode(self), "apiVersion": self.resource.api_version, "kind": self.resource.kind}


class Unstructured(KubeObject, frozen=True, kw_only=True):
    """An object of a kind known only at run time: everything but metadata stands in ``unknown_fields``."""

    @property
    def raw(self) -> Mapping[str, Any]:
        """All fields but metadata, as JSON."""
        return self.unknown_fields


@cache
def unstructured(resource: Resource) -> type[Unstructured]:
    """The class for objects of ``resource``; the same class for equal resources."""
    return type(f"Unstructured{resource.kind}", (Unstructured,), {"resource": resource, "__module__": __name__})
