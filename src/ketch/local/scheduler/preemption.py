"""Whose room a dearer pod may take: the fewest and cheapest pods of lower priority, on one node. Pure.

Pods that share a PodGroup go together when too few of them would be left: half a gang is of no use to anybody. What a
PodDisruptionBudget protects is taken only where nothing else will do.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ketch.kube.meta import ObjectKey
from ketch.local.scheduler.decisions import Unplaced, decide
from ketch.local.scheduler.filters import Change, refusals, surroundings
from ketch.local.scheduler.needs import Needs
from ketch.local.scheduler.occupants import Budget, Occupant, Occupants
from ketch.local.scheduler.state import NodeState, State
from ketch.local.scheduler.terms import NodeTerm

MOST_NODES = 100
"""Nodes that are weighed for one pod: among so many there is a good one."""
LOWEST = 2**31

Members = Callable[[ObjectKey], tuple[int, frozenset[str]]]
"""Of a PodGroup: how many it needs, and the uids of those that are placed."""


class Claim(NamedTuple):
    """A node that a pod will have once there is room; ``uid`` is the pod's."""

    uid: str
    needs: Needs
    node: str


class Plan(NamedTuple):
    """Where pods will be, and who must go for it; nobody where enough are about to go anyway."""

    claims: tuple[Claim, ...]
    victims: tuple[Occupant, ...]


class Wish(NamedTuple):
    """A pod that has found no room. ``group`` is its PodGroup, ``volumes`` the node affinities of what it mounts."""

    uid: str
    needs: Needs
    group: ObjectKey | None = None
    volumes: Sequence[tuple[NodeTerm, ...]] = ()


class World(NamedTuple):
    """All that preemption looks at."""

    state: State
    occupants: Occupants
    members: Members
    budgets: Sequence[Budget]


def plan(wish: Wish, world: World) -> Plan | None:
    """How to make room for a pod; None where nobody of lower priority can make any.

    The state is the same afterwards.
    """
    needs = wish.needs
    if not needs.preempts or not world.occupants.any_below(needs.priority):
        return None
    candidates: list[tuple[tuple[float, ...], str, tuple[Occupant, ...]]] = []
    around = surroundings(needs, world.state)
    for node in list(world.state.nodes()):
        if len(candidates) >= MOST_NODES:
            break
        against = refusals(needs, node, around, wish.volumes)
        if not any(refusal.cure & Change.ROOM for refusal in against):
            continue  # nobody's going would help
        victims = _victims(wish, node, world)
        if victims is not None:
            every = _with_their_gangs(victims, world)
            candidates.append((_cost(every, world.budgets), node.name, every))
    if not candidates:
        return None
    _, node_name, victims = min(candidates, key=lambda each: each[:2])
    return Plan((Claim(wish.uid, needs, node_name),), victims)


def _cheaper(wish: Wish, node: NodeState, world: World) -> list[Occupant]:
    """Pods of the node that may have to go."""
    found = world.occupants.among(node.pods)
    return [each for each in found if each.priority < wish.needs.priority and not _is_held_dear(each, wish, world)]


def _is_held_dear(pod: Occupant, wish: Wish, world: World) -> bool:
    """Whether it is of the same gang, or its going would take one along that is as dear as who wants its room."""
    if pod.group is None:
        return False
    _, uids = world.members(pod.group)
    return pod.group == wish.group or any(each.priority >= wish.needs.priority for each in world.occupants.among(uids))


def _victims(wish: Wish, node: NodeState, world: World) -> list[Occupant] | None:
    """Who of the node must go: take all away that may, then let stay whom there is room for, the dearest first.

    None when the pod does not fit even so.
    """
    cheaper, state = _cheaper(wish, node, world), world.state
    held = {each.uid: node.pods[each.uid] for each in cheaper}

    def fits() -> bool:
        return not refusals(wish.needs, node, surroundings(wish.needs, state), wish.volumes)

    for uid in held:
        state.displace(uid)
    try:
        if not held or not fits():
            return None
        victims: list[Occupant] = []
        for each in _dearest_first(cheaper, world.budgets):
            if each.leaves:
                continue  # its room comes free without anybody's doing
            state.place(each.uid, held[each.uid], node.name)
            if not fits():
                state.displace(each.uid)
                victims.append(each)
        return victims
    finally:
        for uid, own in held.items():
            state.place(uid, own, node.name)


def _dearest_first(pods: Iterable[Occupant], budgets: Sequence[Budget]) -> list[Occupant]:
    """Those whose going a budget forbids, then by priority, then those of gangs, then the older."""
    pods = list(pods)
    forbidden = {each.uid for each in violating(pods, budgets)}
    return sorted(pods, key=lambda each: (each.uid not in forbidden, -each.priority, each.group is None, each.begun))


def violating(pods: Iterable[Occupant], budgets: Sequence[Budget]) -> list[Occupant]:
    """Those for whom no budget has anything left, when they are taken in this order, the cheapest first."""
    left = {number: budget.allowed for number, budget in enumerate(budgets)}
    found: list[Occupant] = []
    for pod in sorted(pods, key=lambda each: (each.priority, each.begun)):
        meant = [
            number
            for number, budget in enumerate(budgets)
            if budget.namespace == pod.key.namespace and budget.selector.matches(pod.labels)
        ]
        if any(left[number] <= 0 for number in meant):
            found.append(pod)
        for number in meant:
            left[number] -= 1
    return found


def _with_their_gangs(victims: Sequence[Occupant], world: World) -> tuple[Occupant, ...]:
    every = {each.uid: each for each in victims}
    for group in dict.fromkeys(each.group for each in victims if each.group is not None):
        least, uids = world.members(group)
        if len(uids - every.keys()) < least:
            every |= {each.uid: each for each in world.occupants.among(uids) if not each.leaves}
    return tuple(every.values())


def _cost(victims: Sequence[Occupant], budgets: Sequence[Budget]) -> tuple[float, ...]:
    """Broken budgets, then the dearest who goes, then all together; of equals, those that began last go."""
    if not victims:
        return (0.0,)
    highest = max(each.priority for each in victims)
    oldest = min(each.begun for each in victims if each.priority == highest)
    total = sum(each.priority + LOWEST for each in victims)  # each counts, however low its priority
    return (len(violating(victims, budgets)), highest, total, len(victims), -oldest.timestamp())


def together(wishes: Sequence[Wish], missing: int, world: World) -> Plan | None:
    """Room for ``missing`` of a gang's pods at once; None where there would not be enough even so.

    The state is the same afterwards.
    """
    claims: list[Claim] = []
    gone: dict[str, tuple[Occupant, str, Needs]] = {}
    state = world.state
    if not any(each.needs.preempts and world.occupants.any_below(each.needs.priority) for each in wishes):
        return None
    try:
        for wish in wishes:
            if len(claims) >= missing:
                break
            found = decide(wish.needs, state, wish.volumes)
            if isinstance(found, Unplaced):
                made = plan(wish, world)
                if made is None:
                    continue
                for victim in made.victims:
                    name = state.node_of(victim.uid)
                    if (place := state.node(name)) is not None:
                        gone[victim.uid] = (victim, name, place.pods[victim.uid])
                        state.displace(victim.uid)
                claim = made.claims[0]
            else:
                claim = Claim(wish.uid, wish.needs, found.name)
            state.place(*claim)
            claims.append(claim)
        if len(claims) < missing:
            return None
        return Plan(tuple(claims), tuple(victim for victim, _, _ in gone.values()))
    finally:
        for claim in claims:
            state.displace(claim.uid)
        for uid, (_, name, needs) in gone.items():
            state.place(uid, needs, name)
