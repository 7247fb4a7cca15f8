"""Whether a pod may run on a node, and in the words kubectl's users know, why not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

from ketch.local.scheduler.needs import PODS, Needs
from ketch.local.scheduler.state import NodeFacts, NodeState, State, selected
from ketch.local.scheduler.terms import NodeTerm, Spread

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


class Change(IntFlag):
    """What happened in the cluster, and what a waiting pod waits for."""

    NODES = 1  # a node came, or its labels, taints or allocatable resources changed
    ROOM = 2  # a pod left a node
    PODS = 4  # a pod came to sit on a node
    CLAIMS = 8  # claims, volumes or storage classes changed
    TURN = 16  # a gang that was to be placed first has its place, or its time is over


class Refusal(NamedTuple):
    """One reason against one node; ``cure`` says which changes may lift it, ``shared`` whether labels play no part.

    ``alike`` says that it holds of all nodes that are alike, for pods that do not look at their names.
    """

    reason: str
    cure: Change
    shared: bool = True
    alike: bool = False


AFFINITY = Refusal("node(s) didn't match Pod's node affinity/selector", Change.NODES, alike=True)
CORDONED = Refusal("node(s) were unschedulable", Change.NODES, alike=True)
PORTS = Refusal("node(s) didn't have free ports for the requested pod ports", Change.ROOM | Change.NODES)
SHARED_PORTS = Refusal(
    "node(s) didn't have free ports for the requested pod ports (pods there share the network of their host)",
    Change.ROOM | Change.NODES,
)
TOO_MANY = Refusal("Too many pods", Change.ROOM | Change.NODES)
VOLUME_ELSEWHERE = Refusal("node(s) didn't match PersistentVolume's node affinity", Change.CLAIMS | Change.NODES)
NOT_NEAR = Refusal("node(s) didn't match pod affinity rules", Change.PODS | Change.NODES)
NOT_APART = Refusal("node(s) didn't match pod anti-affinity rules", Change.ROOM | Change.NODES)
KEPT_APART = Refusal("node(s) didn't satisfy existing pods anti-affinity rules", Change.ROOM | Change.NODES, False)
TOO_SKEWED = Refusal("node(s) didn't match pod topology spread constraints", Change.PODS | Change.ROOM | Change.NODES)
NO_DOMAIN = Refusal("node(s) didn't match pod topology spread constraints (missing required label)", Change.NODES)


@dataclass(frozen=True)
class _Skew:
    """A spread constraint with what is counted for it now."""

    constraint: Spread
    counts: Counter[str]
    least: int
    own: int


@dataclass(frozen=True)
class Surroundings:
    """What other pods mean for this one, reckoned once per decision."""

    near: tuple[tuple[str, frozenset[str] | None], ...]
    apart: tuple[tuple[str, frozenset[str]], ...]
    forbidden: Mapping[str, set[str]]
    skews: tuple[_Skew, ...]


def surroundings(needs: Needs, state: State) -> Surroundings:
    """Reckon the domains that the pod's terms, and others' terms about it, allow."""
    labels = state.namespace_labels(needs.namespace)
    near: list[tuple[str, frozenset[str] | None]] = []
    for term in needs.near:
        domains = frozenset(state.by_domain(term))
        if not domains and term.matches(needs.namespace, labels, needs.labels):
            # The first of a group that wants to be together may sit anywhere that has the label at all.
            near.append((term.topology, None))
        else:
            near.append((term.topology, domains))
    apart = tuple((term.topology, frozenset(state.by_domain(term))) for term in needs.apart)
    skews = tuple(skew_of(needs, constraint, state) for constraint in needs.spreads if constraint.hard)
    return Surroundings(tuple(near), apart, state.forbidden_domains(needs), skews)


def skew_of(needs: Needs, constraint: Spread, state: State) -> _Skew:
    """Count the constraint's group in the domains of the nodes that the pod could use."""
    group = constraint.group
    per_node = state.counts(group)
    counts: Counter[str] = Counter()
    for node in state.nodes():
        assert node.facts
        domain = node.facts.labels.get(group.topology)
        if domain is None:
            continue
        if constraint.honours_affinity and not _affine(needs, node.facts):
            continue
        if constraint.honours_taints and _taint_refusal(needs, node.facts):
            continue
        counts[domain] += per_node[node.name]
    least = min(counts.values(), default=0) if len(counts) >= constraint.least_domains else 0
    own = int(group.matches(needs.namespace, state.namespace_labels(needs.namespace), needs.labels))
    return _Skew(constraint, counts, least, own)


def refusals(
    needs: Needs, node: NodeState, around: Surroundings, volumes: Sequence[tuple[NodeTerm, ...]] = ()
) -> Sequence[Refusal]:
    """Why the pod may not run on the node: the first kind of reason that holds; empty when it may.

    ``volumes`` are the node affinities of its bound volumes.
    """
    facts = node.facts
    assert facts
    if refusal := _taint_refusal(needs, facts):
        return (refusal,)
    if not _affine(needs, facts):
        return (AFFINITY,)
    if any(node.port_taken(port) for port in needs.ports):
        return (PORTS,)
    if any(node.listener_taken(port) for port in needs.listens):
        return (SHARED_PORTS,)
    if lacking := lacking_room(needs, node):
        return lacking
    if not all(selected(terms, facts) for terms in volumes):
        return (VOLUME_ELSEWHERE,)
    refusal = _neighbour_refusal(facts, around) or _skew_refusal(facts, around)
    return (refusal,) if refusal else ()


def _affine(needs: Needs, facts: NodeFacts) -> bool:
    if needs.node_selector and not all(facts.labels.get(key) == value for key, value in needs.node_selector):
        return False
    return selected(needs.node_terms, facts)


def _taint_refusal(needs: Needs, facts: NodeFacts) -> Refusal | None:
    for taint in facts.hard_taints:
        if not any(toleration.tolerates(taint) for toleration in needs.tolerations):
            if taint.key == UNSCHEDULABLE:
                return CORDONED
            return Refusal(f"node(s) had untolerated taint {taint}", Change.NODES, alike=True)
    return None


def lacking_room(needs: Needs, node: NodeState) -> Sequence[Refusal]:
    """A refusal for each resource of which too little is left."""
    found: list[Refusal] = []
    if node.free(PODS) - len(node.pods) < 1:
        found.append(TOO_MANY)
    for resource, amount in needs.resources:
        if amount > node.free(resource):
            found.append(Refusal(f"Insufficient {resource}", Change.ROOM | Change.NODES))
    return found


def _neighbour_refusal(facts: NodeFacts, around: Surroundings) -> Refusal | None:
    for topology, domains in around.forbidden.items():
        if facts.labels.get(topology) in domains:
            return KEPT_APART
    for topology, domains in around.apart:
        if facts.labels.get(topology) in domains:
            return NOT_APART
    for topology, domains in around.near:
        domain = facts.labels.get(topology)
        if domain is None or (domains is not None and domain not in domains):
            return NOT_NEAR
    return None


def _skew_refusal(facts: NodeFacts, around: Surroundings) -> Refusal | None:
    for skew in around.skews:
        domain = facts.labels.get(skew.constraint.group.topology)
        if domain is None:
            return NO_DOMAIN
        if skew.counts[domain] + skew.own - skew.least > skew.constraint.skew:
            return TOO_SKEWED
    return None
