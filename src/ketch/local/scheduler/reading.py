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
    """A pod that is being created, as far as it matters where it goes."""
    meta = pod["metadata"]
    named = {name: meta[name] for name in ("name", "namespace", "uid", "labels") if name in meta}
    return Pod(metadata=decode(ObjectMeta, named), spec=decode(PodSpec, pod["spec"]))


def holds_room(pod: Pod) -> bool:
    """Whether the pod has a node and still uses it; a deleted one does until its node says that it is gone."""
    return bool(pod.spec.node_name) and pod.status.phase not in TERMINAL


def is_ours(pod: Pod) -> bool:
    """Whether this scheduler is to find a node for the pod."""
    spec = pod.spec
    waits = not spec.node_name and pod.metadata.deletion_timestamp is None and pod.status.phase not in TERMINAL
    return waits and spec.scheduler_name in ("", NAME)
