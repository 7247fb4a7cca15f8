"""One decision: the best node for a pod, or why there is none and what would help. Pure."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from ketch.kube.quantities import format_quantity
from ketch.local.scheduler.filters import Change, Refusal, Surroundings, refusals, surroundings
from ketch.local.scheduler.needs import CPU, MEMORY, PODS, Needs
from ketch.local.scheduler.scores import best
from ketch.local.scheduler.state import NodeState, State
from ketch.local.scheduler.terms import NodeTerm

NO_NODES = "no nodes available to schedule pods"
MEBI = 1 << 20


class Unplaced(NamedTuple):
    """No node will do: the message for people, and which changes may help. ``shared``: its like fare no better."""

    message: str
    cure: Change
    shared: bool


def decide(needs: Needs, state: State, volumes: Sequence[tuple[NodeTerm, ...]] = ()) -> NodeState | Unplaced:
    """The node for a pod. ``volumes`` are the node affinities of its bound volumes.

    Looks at all nodes only where the pod tells nodes apart that are alike, or has no place.
    """
    around = surroundings(needs, state)
    if candidates := _candidates(needs, state, around, volumes):
        return best(needs, candidates, state)
    feasible: list[NodeState] = []
    refused: list[Sequence[Refusal]] = []
    for node in state.nodes():
        against = refusals(needs, node, around, volumes)
        if against:
            refused.append(against)
        else:
            feasible.append(node)
    if feasible:
        return best(needs, feasible, state)
    return unplaced(needs, refused, state)


def _candidates(
    needs: Needs, state: State, around: Surroundings, volumes: Sequence[tuple[NodeTerm, ...]]
) -> list[NodeState]:
    """Nodes among which the best of all is; none where all must be looked at."""
    if needs.named is not None:
        named = map(state.node, sorted(needs.named))
        return [node for node in named if node is not None and not refusals(needs, node, around, volumes)]
    if needs.tells_nodes_apart:
        return []
    found: list[NodeState] = []
    for alike in state.alike():
        for node in alike:
            against = refusals(needs, node, around, volumes)
            if not against:
                found.append(node)
                break
            if against[0].alike:
                break
    return found


def unplaced(needs: Needs, refused: Sequence[Sequence[Refusal]], state: State) -> Unplaced:
    """The verdict from what each node has against the pod."""
    if not refused:
        return Unplaced(NO_NODES, Change.NODES, shared=True)
    every = [refusal for against in refused for refusal in against]
    cure = Change.NODES
    for refusal in every:
        cure |= refusal.cure
    counts = Counter(refusal.reason for refusal in every)
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    message = f"0/{len(refused)} nodes are available: {reasons}."
    if advice := too_big(needs, state):
        message += f" {advice}"
    return Unplaced(message, cure, all(refusal.shared for refusal in every))


def too_big(needs: Needs, state: State) -> str:
    """What to do when even an empty cluster has no room; empty when waiting may help."""
    facts = [node.facts for node in state.nodes() if node.facts]
    for resource, amount in needs.resources:
        largest = max((each.allocatable.get(resource, 0) for each in facts), default=0)
        if amount <= largest:
            continue
        if not largest:
            return f"No node has {resource}: remove it from resources.requests and limits, or add a node that has it."
        asked, most = shown(resource, amount), shown(resource, largest)
        return f"The pod requests {asked} {resource}, the largest node has {most}: lower resources.requests."
    return ""


def shown(resource: str, amount: int) -> str:
    """An amount as people write it."""
    if resource == CPU:
        return format_quantity(Fraction(amount, 1000))
    if resource == MEMORY and amount >= MEBI:
        return format_quantity(Fraction(amount // MEBI * MEBI), binary=True)
    return format_quantity(Fraction(amount), binary=resource != PODS)
