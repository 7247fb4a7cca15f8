"""apiextensions.k8s.io/v1: CustomResourceDefinition."""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import field

from ketch.kube.codec import JSON, KubeStruct
from ketch.kube.meta import Condition, KubeObject, Resource
from ketch.kube.types.containers import NOTHING


class CustomResourceNames(KubeStruct, frozen=True, kw_only=True):
    """What its objects are called."""

    plural: str
    kind: str
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


class CustomResourceColumn(KubeStruct, frozen=True, kw_only=True):
    """A column of ``kubectl get``."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


class CustomResourceValidation(KubeStruct, frozen=True, kw_only=True):
    """The structural schema, as OpenAPI v3 JSON."""

    open_api_v3_schema: JSON = field(default_factory=dict[str, Any], name="openAPIV3Schema")


class CustomResourceVersion(KubeStruct, frozen=True, kw_only=True):
    """One version; exactly one of a definition is stored. The API requires ``served`` and ``storage``."""

    name: str
    served: bool | None = None
    storage: bool | None = None
    deprecated: bool = False
    schema: CustomResourceValidation | None = None
    subresources: Mapping[str, Any] = NOTHING
    additional_printer_columns: tuple[CustomResourceColumn, ...] = ()


class CustomResourceDefinitionSpec(KubeStruct, frozen=True, kw_only=True):
    """A kind added to the API."""

    group: str = ""
    names: CustomResourceNames | None = None
    scope: str = ""
    versions: tuple[CustomResourceVersion, ...] = ()
    conversion: Mapping[str, Any] = NOTHING
    preserve_unknown_fields: bool = False


class CustomResourceDefinitionStatus(KubeStruct, frozen=True, kw_only=True):
    """Whether its objects are served."""

    conditions: tuple[Condition, ...] = ()
    accepted_names: CustomResourceNames | None = None
    stored_versions: tuple[str, ...] = ()


class CustomResourceDefinition(KubeObject, frozen=True, kw_only=True):
    """The definition of a kind."""

    resource: ClassVar = Resource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
    )

    spec: CustomResourceDefinitionSpec = CustomResourceDefinitionSpec()
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()
