"""Which of the nodes that would do is best: emptiest first, then what the pod would rather have."""

from collections.abc import Mapping, Sequence

from ketch.local.scheduler.filters import skew_of
from ketch.local.scheduler.needs import CPU, MEMORY, Needs
from ketch.local.scheduler.state import NodeState, State, selected

FULL = 100
"""The best that one point of view can say; each is then weighed."""
AFFINITY_WEIGHT, TAINT_WEIGHT, NEIGHBOUR_WEIGHT, SPREAD_WEIGHT, ROOM_WEIGHT = 2, 3, 2, 2, 1
"""Weights as the Kubernetes scheduler has them."""


def best(needs: Needs, nodes: Sequence[NodeState], state: State) -> NodeState:
    """The node to take; of equals, the one with fewer pods, then by name. ``nodes`` must not be empty."""
    if len(nodes) == 1:
        return nodes[0]
    totals = {node.name: ROOM_WEIGHT * room(needs, node) for node in nodes}
    _add(totals, _spreaded({node.name: _preferred(needs, node) for node in nodes}), AFFINITY_WEIGHT)
    _add(totals, _spreaded({node.name: -_soft_taints(needs, node) for node in nodes}), TAINT_WEIGHT)
    if needs.preferred_pods:
        _add(totals, _spreaded(_neighbours(needs, nodes, state)), NEIGHBOUR_WEIGHT)
    if any(not constraint.hard for constraint in needs.spreads):
        _add(totals, _spreaded(_evenness(needs, nodes, state)), SPREAD_WEIGHT)
    return min(nodes, key=lambda node: (-totals[node.name], len(node.pods), node.name))


def _add(totals: dict[str, float], scores: Mapping[str, float], weight: int) -> None:
    for name, score in scores.items():
        totals[name] += weight * score


def _spreaded(raw: Mapping[str, float]) -> Mapping[str, float]:
    """Onto 0 .. FULL; all alike say nothing."""
    low, high = min(raw.values()), max(raw.values())
    return {name: (value - low) * FULL / (high - low) if high > low else 0.0 for name, value in raw.items()}


def room(needs: Needs, node: NodeState) -> float:
    """How much of cpu and memory is free once the pod is there, 0 .. FULL."""
    assert node.facts
    asked, shares = dict(needs.resources), list[float]()
    for resource in (CPU, MEMORY):
        if total := node.facts.allocatable.get(resource, 0):
            shares.append(max(0.0, (node.free(resource) - asked.get(resource, 0)) / total))
    return FULL * sum(shares) / len(shares) if shares else 0.0


def _preferred(needs: Needs, node: NodeState) -> float:
    assert node.facts
    facts = node.facts
    return sum(weight for weight, term in needs.preferred_nodes if selected((term,), facts))


def _soft_taints(needs: Needs, node: NodeState) -> float:
    assert node.facts
    soft = [taint for taint in node.facts.taints if taint.effect == "PreferNoSchedule"]
    return sum(not any(toleration.tolerates(taint) for toleration in needs.tolerations) for taint in soft)


def _neighbours(needs: Needs, nodes: Sequence[NodeState], state: State) -> dict[str, float]:
    scores = {node.name: 0.0 for node in nodes}
    for weight, term in needs.preferred_pods:
        counts = state.by_domain(term)
        for node in nodes:
            assert node.facts
            scores[node.name] += weight * counts[node.facts.labels.get(term.topology, "")]
    return scores


def _evenness(needs: Needs, nodes: Sequence[NodeState], state: State) -> dict[str, float]:
    scores = {node.name: 0.0 for node in nodes}
    for constraint in needs.spreads:
        if constraint.hard:
            continue
        skew = skew_of(needs, constraint, state)
        for node in nodes:
            assert node.facts
            scores[node.name] -= skew.counts[node.facts.labels.get(constraint.group.topology, "")]
    return scores
