"""Nodes and pods as the scheduler takes them in."""

from collections.abc import Mapping
from typing import Any

from ketch.kube.codec import decode
from ketch.kube.conditions import is_true
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Pod, PodSpec
from ketch.local.scheduler.filters import UNSCHEDULABLE
from ketch.local.scheduler.needs import amounts
from ketch.local.scheduler.state import NodeFacts
from ketch.local.scheduler.terms import Taint

NAME = "default-scheduler"
NOT_READY = "node.kubernetes.io/not-ready"
TERMINAL = ("Succeeded", "Failed")

_OF_METADATA = ("name", "namespace", "uid", "labels")
_CONTAINERS = ("containers", "initContainers")
_OF_CONTAINERS = ("name", "image", "resources", "ports", "restartPolicy")
_OF_VOLUMES = frozenset({"persistentVolumeClaim", "ephemeral"})


def facts_of(node: Node) -> NodeFacts:
    """What placing depends on. Cordoned and unready nodes are treated as if they already had the taint for it."""
    taints = [Taint(taint.key, taint.value, taint.effect) for taint in node.spec.taints]
    if node.spec.unschedulable:
        taints.append(Taint(UNSCHEDULABLE, "", "NoSchedule"))
    if not is_true(node.status.conditions, "Ready") and not any(
        taint.key.endswith(("not-ready", "unreachable")) for taint in taints
    ):
        taints.append(Taint(NOT_READY, "", "NoSchedule"))
    return NodeFacts(
        node.metadata.name, node.metadata.labels, tuple(dict.fromkeys(taints)), dict(amounts(node.status.allocatable))
    )


def newcomer(pod: Mapping[str, Any]) -> Pod:
    """A pod that is being created, of which only that is read that says where it may go."""
    meta, spec = pod["metadata"], pod["spec"]
    named = {name: meta[name] for name in _OF_METADATA if name in meta}
    wanted = {name: value for name, value in spec.items() if name not in _CONTAINERS}
    for kind in _CONTAINERS:
        if kind in spec:
            wanted[kind] = [{name: each[name] for name in _OF_CONTAINERS if name in each} for each in spec[kind]]
    if "volumes" in spec:
        wanted["volumes"] = [each for each in spec["volumes"] if _OF_VOLUMES & each.keys()]
    return Pod(metadata=decode(ObjectMeta, named), spec=decode(PodSpec, wanted))


def holds_room(pod: Pod) -> bool:
    """Whether the pod has a node and still uses it; a deleted one does until its node says that it is gone."""
    return bool(pod.spec.node_name) and pod.status.phase not in TERMINAL


def is_ours(pod: Pod) -> bool:
    """Whether this scheduler is to find a node for the pod."""
    spec = pod.spec
    waits = not spec.node_name and pod.metadata.deletion_timestamp is None and pod.status.phase not in TERMINAL
    return waits and spec.scheduler_name in ("", NAME)
