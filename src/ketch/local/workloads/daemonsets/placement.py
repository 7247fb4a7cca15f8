"""Which nodes a DaemonSet means, and its pod for one of them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ketch.kube.selectors import Requirement
from ketch.kube.types.apps import DaemonSet
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Pod, PodSpec, Toleration
from ketch.local.workloads.nodes.eviction import tolerates
from ketch.local.workloads.pods import from_template
from ketch.local.workloads.revisions import labelled

GENERATION_LABEL = "pod-template-generation"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NODE_NAME = "metadata.name"
NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"
_NODE = "node.kubernetes.io"
TOLERATED = (
    (f"{_NODE}/not-ready", NO_EXECUTE),
    (f"{_NODE}/unreachable", NO_EXECUTE),
    (f"{_NODE}/disk-pressure", NO_SCHEDULE),
    (f"{_NODE}/memory-pressure", NO_SCHEDULE),
    (f"{_NODE}/pid-pressure", NO_SCHEDULE),
    (f"{_NODE}/unschedulable", NO_SCHEDULE),
)
"""Taints that no daemon minds: it is there to look after such nodes, too."""


def tolerations(spec: PodSpec) -> tuple[Toleration, ...]:
    """What the daemon's pods tolerate: their own, and what all daemons do."""
    common = [Toleration(key=key, operator="Exists", effect=effect) for key, effect in TOLERATED]
    if spec.host_network:
        common.append(Toleration(key=f"{_NODE}/network-unavailable", operator="Exists", effect=NO_SCHEDULE))
    return (*spec.tolerations, *(each for each in common if each not in spec.tolerations))


def _requirement(item: Mapping[str, Any]) -> Requirement:
    return Requirement(str(item.get("key", "")), str(item.get("operator", "")), frozenset(item.get("values") or ()))


def _is_meant(term: Mapping[str, Any], node: Node) -> bool:
    """Whether one term of a node affinity holds; one without any expression never does."""
    labels: Sequence[Mapping[str, Any]] = term.get("matchExpressions") or ()
    fields: Sequence[Mapping[str, Any]] = term.get("matchFields") or ()
    names = {NODE_NAME: node.metadata.name}
    held = [_requirement(each).matches(node.metadata.labels) for each in labels]
    held += [_requirement(each).matches(names) for each in fields]
    return bool(held) and all(held)


def _terms(spec: PodSpec) -> Sequence[Mapping[str, Any]] | None:
    affinity: Mapping[str, Any] = spec.affinity.get("nodeAffinity") or {}
    required: Mapping[str, Any] | None = affinity.get(REQUIRED)
    return None if required is None else required.get("nodeSelectorTerms") or ()


def may_stay(spec: PodSpec, node: Node) -> bool:
    """Whether a pod that is on the node may go on."""
    if spec.node_name and spec.node_name != node.metadata.name:
        return False
    if not spec.node_selector.items() <= node.metadata.labels.items():
        return False
    terms = _terms(spec)
    if terms is not None and not any(_is_meant(term, node) for term in terms):
        return False
    return _bears(spec, node, (NO_EXECUTE,))


def should_run(spec: PodSpec, node: Node) -> bool:
    """Whether the node should get a pod."""
    return may_stay(spec, node) and _bears(spec, node, (NO_SCHEDULE, NO_EXECUTE))


def _bears(spec: PodSpec, node: Node, effects: Sequence[str]) -> bool:
    own = tolerations(spec)
    hard = (taint for taint in node.spec.taints if taint.effect in effects)
    return all(any(tolerates(each, taint) for each in own) for taint in hard)


def node_of(pod: Pod) -> str:
    """The node that the pod is on, or is meant for."""
    if pod.spec.node_name:
        return pod.spec.node_name
    for term in _terms(pod.spec) or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == NODE_NAME and field.get("values"):
                return str(field["values"][0])
    return ""


def pod_for(owner: DaemonSet, node: str, revision: str) -> Pod:
    """A new pod for that node: bound to it by its affinity, so that the scheduler still sees to its room."""
    pod = from_template(owner, owner.spec.template)
    field = {"key": NODE_NAME, "operator": "In", "values": [node]}
    terms = [{**term, "matchFields": [field]} for term in _terms(pod.spec) or ({},)]
    others: Mapping[str, Any] = pod.spec.affinity.get("nodeAffinity") or {}
    affinity = {**pod.spec.affinity, "nodeAffinity": {**others, REQUIRED: {"nodeSelectorTerms": terms}}}
    spec = msgspec.structs.replace(pod.spec, affinity=affinity, tolerations=tolerations(pod.spec))
    generation = owner.metadata.annotations.get("deprecated.daemonset.template.generation")
    meta = labelled(pod.metadata, revision)
    if generation:
        meta = msgspec.structs.replace(meta, labels={**meta.labels, GENERATION_LABEL: generation})
    return msgspec.structs.replace(pod, metadata=meta, spec=spec)
