"""What a write makes of an object: pure steps on the way from what was sent to what is kept."""

from collections.abc import Callable, Mapping
from typing import Any

from ketch.kube.errors import MethodNotAllowed
from ketch.local.apiserver import patches
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.strategies.base import Strategy

Obj = dict[str, Any]


def stamped(obj: Obj) -> Callable[[int], Obj]:
    """Gives the object the revision of its write."""

    def build(revision: int) -> Obj:
        obj["metadata"]["resourceVersion"] = str(revision)
        return obj

    return build


def may_go(strategy: Strategy, obj: Mapping[str, Any]) -> bool:
    """Whether nothing holds an object whose deletion has begun."""
    meta = obj["metadata"]
    return not (meta.get("finalizers") or meta.get("deletionGracePeriodSeconds") or strategy.deletion_hooks(obj))


def applicable(resource: ServedResource, applied: Obj, subresource: str) -> Obj:
    """What of an applied object counts where status is a subresource: all but it, or it alone."""
    if subresource == "status":
        names = ("name", "namespace", "uid", "resourceVersion")
        meta = {name: applied["metadata"][name] for name in names if name in applied["metadata"]}
        return {
            **{name: applied[name] for name in ("apiVersion", "kind", "status") if name in applied},
            "metadata": meta,
        }
    if resource.has_status:
        return {name: item for name, item in applied.items() if name != "status"}
    return applied


def take(obj: Obj, old: Mapping[str, Any], name: str) -> None:
    """Let ``obj`` have a field as ``old`` has it."""
    if name in old:
        obj[name] = old[name]
    else:
        obj.pop(name, None)


def with_status(resource: ServedResource, obj: Obj, old: Mapping[str, Any]) -> Obj:
    """Only status counts, and of the metadata the labels and annotations of built-in kinds, as in Kubernetes."""
    if not resource.has_status:
        raise MethodNotAllowed(f"{resource.plural} have no status subresource")
    changed = {**old, "metadata": {**old["metadata"]}}
    if "managedFields" in obj["metadata"]:
        changed["metadata"]["managedFields"] = obj["metadata"]["managedFields"]
    if not resource.custom:
        for name in ("labels", "annotations"):
            take(changed["metadata"], obj["metadata"], name)
    take(changed, obj, "status")
    return changed


def same(obj: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether nothing changed. Who owns what counts, when they wrote does not."""
    if any(obj.get(name) != old.get(name) for name in {*obj, *old} - {"metadata"}):
        return False
    new_meta, old_meta = dict(obj["metadata"]), dict(old["metadata"])
    new_managed, old_managed = new_meta.pop("managedFields", None), old_meta.pop("managedFields", None)
    new_meta.pop("resourceVersion", None)
    old_meta.pop("resourceVersion", None)
    return new_meta == old_meta and patches.same_ownership(new_managed, old_managed)
