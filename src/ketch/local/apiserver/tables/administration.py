"""What administrators set around workloads, as rows: budgets, policies, webhooks, classes, disks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.tables.columns import AGE, NAME, NONE, UNSET, Column, Obj, at, field, joined, labels_text

Columns = Sequence[Column]
CREATED: Columns = (NAME, Column("Created At", field("metadata", "creationTimestamp")))
LIMITS = "limits."
"""How resources begin that bound what containers may use at most."""


def _quota(*, limits: bool) -> Any:
    """What is used of what there is: of the limits, or of all else."""

    def cell(obj: Obj, now: datetime) -> str:  # cells take a time
        hard, used = at(obj, "status", "hard", default=NOTHING), at(obj, "status", "used", default=NOTHING)
        chosen = (name for name in sorted(hard) if name.startswith(LIMITS) is limits)
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in chosen)

    return cell


RESOURCE_QUOTA: Columns = (NAME, Column("Request", _quota(limits=False)), Column("Limit", _quota(limits=True)), AGE)

_OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A label selector as kubectl takes it."""
    selector = selector or NOTHING
    labels = labels_text(selector.get("matchLabels"), "")
    terms = [
        _OPERATORS.get(each.get("operator", ""), "{key}").format(
            key=each.get("key", ""), values=",".join(sorted(each.get("values") or NO_ITEMS))
        )
        for each in selector.get("matchExpressions") or NO_ITEMS
    ]
    return joined((*([labels] if labels else []), *terms))


def _pods_meant(obj: Obj, now: datetime) -> str:  # cells take a time
    return selector_text(at(obj, "spec", "podSelector", default=NOTHING))


NETWORK_POLICY: Columns = (NAME, Column("Pod-Selector", _pods_meant), AGE)


def _length(*path: str) -> Any:
    def cell(obj: Obj, now: datetime) -> int:  # cells take a time
        return len(at(obj, *path, default=NO_ITEMS))

    return cell


WEBHOOKS: Columns = (NAME, Column("Webhooks", _length("webhooks"), "integer"), AGE)


def _parameters_kind(obj: Obj, now: datetime) -> str:  # cells take a time
    kind = at(obj, "spec", "paramKind", default=NOTHING)
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


def _parameters(obj: Obj, now: datetime) -> str:  # cells take a time
    reference = at(obj, "spec", "paramRef", default=NOTHING)
    if not reference:
        return UNSET
    if name := reference.get("name"):
        return f"{namespace}/{name}" if (namespace := reference.get("namespace")) else str(name)
    return selector_text(reference.get("selector"))


VALIDATING_POLICY: Columns = (
    NAME,
    Column("Validations", _length("spec", "validations"), "integer"),
    Column("ParamKind", _parameters_kind),
    AGE,
)
MUTATING_POLICY: Columns = (
    NAME,
    Column("Mutations", _length("spec", "mutations"), "integer"),
    Column("ParamKind", _parameters_kind),
    AGE,
)
POLICY_BINDING: Columns = (
    NAME,
    Column("PolicyName", field("spec", "policyName")),
    Column("ParamRef", _parameters),
    AGE,
)


def _kind_of_group(reference: Mapping[str, Any], group: str) -> str:
    kind = str(reference.get("kind", "")).lower()
    return f"{kind}.{group}/{reference.get('name', '')}" if group else f"{kind}/{reference.get('name', '')}"


def _controller(obj: Obj, now: datetime) -> str:  # cells take a time
    owners = at(obj, "metadata", "ownerReferences", default=NO_ITEMS)
    owner = next((each for each in owners if each.get("controller")), None)
    return _kind_of_group(owner, str(owner.get("apiVersion", "")).rpartition("/")[0]) if owner else NONE


REVISION: Columns = (
    NAME,
    Column("Controller", _controller),
    Column("Revision", field("revision", default=0), "integer"),
    AGE,
)


def _class_parameters(obj: Obj, now: datetime) -> str:  # cells take a time
    reference = at(obj, "spec", "parameters", default=NOTHING)
    if not reference:
        return NONE
    kind, group = str(reference.get("kind", "")), str(reference.get("apiGroup") or "")
    return f"{kind}.{group}/{reference.get('name', '')}" if group else f"{kind}/{reference.get('name', '')}"


INGRESS_CLASS: Columns = (
    NAME,
    Column("Controller", field("spec", "controller")),
    Column("Parameters", _class_parameters),
    AGE,
)
RUNTIME_CLASS: Columns = (NAME, Column("Handler", field("handler")), AGE)


def _containers(what: str) -> Any:
    def cell(obj: Obj, now: datetime) -> str:  # cells take a time
        return joined((each.get(what, "") for each in at(obj, "template", "spec", "containers", default=NO_ITEMS)), "")

    return cell


def _template_labels(obj: Obj, now: datetime) -> str:  # cells take a time
    return labels_text(at(obj, "template", "metadata", "labels", default=NOTHING))


POD_TEMPLATE: Columns = (
    NAME,
    Column("Containers", _containers("name")),
    Column("Images", _containers("image")),
    Column("Pod Labels", _template_labels),
)


def _switch(*path: str, default: bool) -> Any:
    def cell(obj: Obj, now: datetime) -> str:  # cells take a time
        return "true" if at(obj, *path, default=default) else "false"

    return cell


def _lifecycles(obj: Obj, now: datetime) -> str:  # cells take a time
    return joined(at(obj, "spec", "volumeLifecycleModes", default=NO_ITEMS))


def _audiences(obj: Obj, now: datetime) -> str:  # cells take a time
    return joined((each.get("audience") or NONE for each in at(obj, "spec", "tokenRequests", default=NO_ITEMS)), UNSET)


DRIVER: Columns = (
    NAME,
    Column("AttachRequired", _switch("spec", "attachRequired", default=True), "boolean"),
    Column("PodInfoOnMount", _switch("spec", "podInfoOnMount", default=False), "boolean"),
    Column("StorageCapacity", _switch("spec", "storageCapacity", default=False), "boolean"),
    Column("TokenRequests", _audiences),
    Column("RequiresRepublish", _switch("spec", "requiresRepublish", default=False), "boolean"),
    Column("Modes", _lifecycles),
    AGE,
)
NODE_DRIVERS: Columns = (NAME, Column("Drivers", _length("spec", "drivers"), "integer"), AGE)
ATTACHMENT: Columns = (
    NAME,
    Column("Attacher", field("spec", "attacher")),
    Column("PV", field("spec", "source", "persistentVolumeName")),
    Column("Node", field("spec", "nodeName")),
    Column("Attached", _switch("status", "attached", default=False), "boolean"),
    AGE,
)
