"""Which objects a list or watch is about: label and field selectors over stored JSON."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from ketch.kube.errors import BadRequest
from ketch.kube.selectors import Requirement, Selector, SelectorError, parse_fields, parse_labels
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Record

Obj = Mapping[str, Any]

COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
FIELDS: Mapping[str, frozenset[str]] = {
    "/pods": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "/events": frozenset(
        {
            *(f"involvedObject.{name}" for name in _INVOLVED),
            *(f"regarding.{name}" for name in _INVOLVED),
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
    "/secrets": frozenset({"type"}),
    "/namespaces": frozenset({"status.phase"}),
    "/nodes": frozenset({"spec.unschedulable"}),
    "/services": frozenset({"spec.clusterIP", "spec.type"}),
    "/replicationcontrollers": frozenset({"status.replicas"}),
    "apps/replicasets": frozenset({"status.replicas"}),
    "batch/jobs": frozenset({"status.successful"}),
    "certificates.k8s.io/certificatesigningrequests": frozenset({"spec.signerName"}),
}
"""Fields that may be selected by, per storage; what kube-apiserver knows."""

INDEXED: Mapping[str, str] = {"/pods": "spec.nodeName"}
"""The field by which objects are found without looking at others: each node agent asks for its own pods."""


def index_of(storage: str) -> Callable[[Obj], str]:
    """What the store finds objects by."""
    path = INDEXED[storage]
    return lambda obj: field_value(obj, path)


def field_value(obj: Obj, path: str) -> str:
    """A field as the selector sees it: absent is the empty text, booleans are ``true`` and ``false``."""
    value: Any = obj
    if path == "source":
        return str(obj.get("source", NOTHING).get("component", "")) or str(obj.get("reportingComponent", ""))
    if path.startswith("regarding."):
        path = "involvedObject." + path.removeprefix("regarding.")
    elif path == "status.successful":
        path = "status.succeeded"
    for step in path.split("."):
        if not isinstance(value, dict):
            return ""
        value = cast("Mapping[str, Any]", value).get(step)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    return str(value)


class Selection(NamedTuple):
    """What a caller asked for. ``matches`` is None when everything is wanted; ``indexed`` is what all is found by."""

    namespace: str | None
    name: str | None
    matches: Callable[[Record], bool] | None
    indexed: str = ""


def _predicate(labels: Selector, fields: tuple[Requirement, ...]) -> Callable[[Record], bool] | None:
    if not labels.requirements and not fields:
        return None

    def matches(record: Record) -> bool:
        if labels.requirements and not labels.matches(record.labels):
            return False
        if not fields:
            return True
        obj = record.value
        return all((field_value(obj, key) in values) == (operator == "In") for key, operator, values in fields)

    return matches


def selection(resource: ServedResource, namespace: str, name: str, label_text: str, field_text: str) -> Selection:
    """Understand a list's parameters. Raises BadRequest for what is no selector and fields that are none."""
    try:
        labels, fields = parse_labels(label_text), parse_fields(field_text)
    except SelectorError as error:
        raise BadRequest(str(error)) from error
    known = FIELDS.get(resource.storage, frozenset())
    for requirement in fields:
        if requirement.key not in COMMON_FIELDS | known and requirement.key not in resource.selectable_fields:
            raise BadRequest(f"field label not supported: {requirement.key}")
    wanted_namespace: str | None = namespace or None
    wanted_name = name or None
    indexed = ""
    rest: list[Requirement] = []
    for requirement in fields:
        single = requirement.operator == "In" and len(requirement.values) == 1
        if single and requirement.key == "metadata.name" and wanted_name is None:
            wanted_name = next(iter(requirement.values))
        elif single and requirement.key == "metadata.namespace" and wanted_namespace is None and resource.namespaced:
            wanted_namespace = next(iter(requirement.values))
        else:
            rest.append(requirement)
            if single and INDEXED.get(resource.storage) == requirement.key:
                indexed = next(iter(requirement.values))
    matches = _predicate(labels, tuple(rest))
    return Selection(wanted_namespace if resource.namespaced else None, wanted_name, matches, indexed)
