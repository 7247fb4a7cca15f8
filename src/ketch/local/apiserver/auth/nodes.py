"""What a node's agent may do within what its role allows: its own Node, its own pods, tokens and objects for these."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ketch.kube.errors import Forbidden, StatusDetails
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.auth.identity import MASTERS, NODES, UserInfo
from ketch.local.apiserver.auth.podreferences import CONFIG_MAPS, SECRETS, names
from ketch.local.apiserver.requests import Call, Target

PREFIX = "system:node:"
LEASES = "kube-node-lease"
WRITES = frozenset({"create", "update", "patch", "delete"})
Lookup = Callable[[str, str, str], Mapping[str, Any] | None]
Listing = Callable[[str, str | None], Sequence[Mapping[str, Any]]]


def node_name(user: UserInfo) -> str:
    """The node that a user is the agent of; empty for anybody else."""
    if NODES not in user.groups or MASTERS in user.groups or not user.name.startswith(PREFIX):
        return ""
    return user.name.removeprefix(PREFIX)


def check(call: Call, target: Target, node: str, lookup: Lookup, listing: Listing) -> None:
    """Whether the agent of ``node`` may do this, beyond its role. Raises Forbidden."""
    if not target.group and target.plural in (CONFIG_MAPS, SECRETS):
        why = _about_named(call, target, node, listing)
    else:
        why = _objection(call, target, node, lookup)
    if why:
        qualified = f"{target.plural}.{target.group}" if target.group else target.plural
        details = StatusDetails(name=target.name, group=target.group, kind=target.plural)
        raise Forbidden(f'{qualified} "{target.name}" is forbidden: node "{node}" {why}', details)


def _objection(call: Call, target: Target, node: str, lookup: Lookup) -> str:
    match target.group, target.plural, target.subresource:
        case "", "nodes", _ if target.verb in WRITES:
            name = target.name or _part(call.body, "metadata").get("name")
            return "" if name == node else "is not allowed to modify other nodes"
        case "", "pods", _:
            return _about_pods(call, target, node, lookup)
        case "", "serviceaccounts", "token":
            return _about_token(call, target, node, lookup)
        case "coordination.k8s.io", "leases", _ if target.verb in WRITES:
            name = target.name or _part(call.body, "metadata").get("name")
            own = target.namespace == LEASES and name == node
            return "" if own else "can only modify the lease of its own name in kube-node-lease"
        case _:
            return ""


def _part(body: Any, name: str) -> Mapping[str, Any]:
    found = cast("Mapping[str, Any]", body).get(name) if isinstance(body, dict) else None
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else NOTHING


def _about_pods(call: Call, target: Target, node: str, lookup: Lookup) -> str:
    if target.verb in ("list", "watch"):
        selected = call.query.get("fieldSelector", "").split(",")
        return "" if f"spec.nodeName={node}" in selected else "can only list and watch pods of its own node"
    pod = lookup("/pods", target.namespace, target.name)
    if pod is None or pod["spec"].get("nodeName") == node:
        return ""
    return "can only read and modify pods that are bound to it"


def _about_named(call: Call, target: Target, node: str, listing: Listing) -> str:
    """Objects are read by their names, and only those that a pod of the node names."""
    name = target.name
    if target.verb in ("list", "watch"):
        selected = dict(part.split("=", 1) for part in call.query.get("fieldSelector", "").split(",") if "=" in part)
        name = selected.get("metadata.name", "").removeprefix("=")
    if not name or not target.namespace:
        return f"can only read {target.plural} by their names"
    pods = listing("/pods", target.namespace)
    if any(pod["spec"].get("nodeName") == node and names(pod, target.plural, name) for pod in pods):
        return ""
    return "can only read what pods bound to it refer to: no relationship found between it and this object"


def _about_token(call: Call, target: Target, node: str, lookup: Lookup) -> str:
    reference = _part(_part(call.body, "spec"), "boundObjectRef")
    if reference.get("kind") != "Pod" or not reference.get("uid"):
        return "can only request tokens that are bound to a pod"
    pod = lookup("/pods", target.namespace, str(reference.get("name", "")))
    if pod is None or pod["metadata"]["uid"] != reference["uid"] or pod["spec"].get("nodeName") != node:
        return "can only request tokens for pods that are bound to it"
    if pod["spec"].get("serviceAccountName") != target.name:
        return "can only request tokens for the service accounts of its pods"
    return ""
