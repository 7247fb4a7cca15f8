"""Gangs: pods of one PodGroup, placed together or not at all.

A gang waits in the queue as one. Its turn is taken in one step and from memory: either enough of its pods have a place
afterwards, or none of those that waited. So no gang half starts, and two that fit alone never hold each other's room.
Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ketch.kube.meta import ObjectKey
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod
from ketch.local.scheduler.claims import Found
from ketch.local.scheduler.decisions import Unplaced, shown
from ketch.local.scheduler.filters import Change
from ketch.local.scheduler.needs import Needs, amounts
from ketch.local.scheduler.queue import Order, Waiting
from ketch.local.scheduler.state import NodeState, State


def group_of(pod: Pod) -> ObjectKey | None:
    """The PodGroup that a pod says it belongs to."""
    name = pod.metadata.labels.get(POD_GROUP_LABEL)
    return ObjectKey(pod.metadata.namespace, name) if name else None


@dataclass
class Gang:
    """The pods of one PodGroup. ``least`` must have a node at the same time; None while there is no PodGroup.

    ``resources`` must be free in all, or the gang's own; ``timeout`` is how long room may be kept for it, in seconds.
    ``told`` is what its PodGroup was last told.
    """

    key: ObjectKey
    least: int | None = None
    resources: tuple[tuple[str, int], ...] = ()
    timeout: int | None = None
    told: str = ""
    waiting: dict[str, Waiting] = field(default_factory=dict[str, Waiting])
    seated: set[str] = field(default_factory=set[str])
    """Those that have, or had, a node and are not about to go."""

    @property
    def uid(self) -> str:
        """By which the gang as a whole is known to the queue."""
        return f"gang/{self.key}"

    @property
    def entry(self) -> Waiting:
        """The gang in the queue: its turn is that of the first of its pods. Some must wait."""
        order: Order = min(each.order for each in self.waiting.values())
        return Waiting(self.uid, self.key, Needs(self.key.namespace, identity=(("gang", self.key.name),)), order)

    @property
    def priority(self) -> int:
        """That of the dearest of its pods. Some must wait."""
        return max(each.needs.priority for each in self.waiting.values())

    @property
    def complete_since(self) -> datetime:
        """When the last of those that wait was made. Some must wait."""
        return max(created for _, created, _ in (each.order for each in self.waiting.values()))

    @property
    def missing(self) -> int:
        """How many more must be placed at once."""
        return max(0, (self.least or 0) - len(self.seated))

    def incomplete(self) -> str:
        """Why its turn has not come at all; empty when it has."""
        if self.least is None:
            return f'there is no PodGroup "{self.key.name}"'
        short = self.missing - len(self.waiting)
        if short > 0:
            return f'PodGroup "{self.key.name}" needs {self.least} pods at once: {short} more must be created'
        return ""

    def lacking(self, state: State) -> str:
        """Which of ``spec.minResources`` the nodes do not have; empty when they have all."""
        short: list[str] = []
        for resource, amount in self.resources:
            free = sum(max(0, node.free(resource)) for node in state.nodes())
            own = sum(self._held(uid, resource, state) for uid in self.seated)
            if free + own < amount:
                short.append(f"{shown(resource, amount)} {resource}, there is {shown(resource, free + own)}")
        if not short:
            return ""
        return f'PodGroup "{self.key.name}" needs in all (spec.minResources) {" and ".join(short)}.'

    def _held(self, uid: str, resource: str, state: State) -> int:
        node = state.node(state.node_of(uid))
        return dict(node.pods[uid].resources).get(resource, 0) if node else 0


class Gangs:
    """All gangs. Invariant: a pod is in at most one gang, and waits there or is seated."""

    def __init__(self) -> None:
        self._gangs: dict[ObjectKey, Gang] = {}
        self._of: dict[str, Gang] = {}
        self._entries: dict[str, Gang] = {}

    def at(self, key: ObjectKey) -> Gang:
        """The gang of a PodGroup."""
        gang = self._gangs.get(key)
        if gang is None:
            gang = self._gangs[key] = Gang(key)
            self._entries[gang.uid] = gang
        return gang

    def by_entry(self, uid: str) -> Gang | None:
        """The gang that the queue knows by that uid."""
        return self._entries.get(uid)

    def join(self, key: ObjectKey, pod: Waiting) -> tuple[Gang, bool]:
        """The pod waits for a node; whether that is news."""
        gang = self._of.get(pod.uid)
        if gang is not None and gang.key != key:
            self.leave(pod.uid)
        gang = self._of[pod.uid] = self.at(key)
        known = gang.waiting.get(pod.uid)
        gang.seated.discard(pod.uid)
        if known is not None and known.needs == pod.needs:
            return gang, False
        gang.waiting[pod.uid] = pod if known is None else pod._replace(order=known.order)
        return gang, True

    def seat(self, key: ObjectKey, uid: str) -> Gang:
        """The pod has a node."""
        gang = self._of[uid] = self.at(key)
        gang.waiting.pop(uid, None)
        gang.seated.add(uid)
        return gang

    def leave(self, uid: str) -> Gang | None:
        """The pod is gone, or about to; the gang that it was in."""
        gang = self._of.pop(uid, None)
        if gang is not None:
            gang.waiting.pop(uid, None)
            gang.seated.discard(uid)
            self._tidy(gang)
        return gang

    def set_group(self, key: ObjectKey, group: PodGroup | None) -> Gang:
        """What a PodGroup says; None when it is gone."""
        gang = self.at(key)
        gang.least = (group.spec.min_member or 1) if group else None
        wanted = {name: str(amount) for name, amount in group.spec.min_resources.items()} if group else {}
        gang.resources = tuple(sorted(amounts(wanted).items()))
        gang.timeout = group.spec.schedule_timeout_seconds if group else None
        self._tidy(gang)
        return gang

    def placed(self, key: ObjectKey) -> tuple[int, frozenset[str]]:
        """How many a gang needs, and who of it has, or had, a node."""
        gang = self._gangs.get(key)
        return (gang.least or 0, frozenset(gang.seated)) if gang else (0, frozenset())

    def _tidy(self, gang: Gang) -> None:
        if gang.least is None and not gang.waiting and not gang.seated:
            self._gangs.pop(gang.key, None)
            self._entries.pop(gang.uid, None)


class Seat(NamedTuple):
    """A node for a pod; ``found`` are its volumes."""

    pod: Waiting
    node: str
    found: Found


class Attempt(NamedTuple):
    """What came of a gang's turn: pods with a place, which is taken in the state, and pods with a verdict.

    ``to_provide`` are places that pods will have once their volumes are made; then no place is taken yet.
    """

    seats: list[Seat]
    refused: list[tuple[Waiting, Unplaced]]
    to_provide: list[Seat]


Find = Callable[[Waiting], tuple[NodeState | Unplaced, Found]]


def attempt(gang: Gang, state: State, find: Find) -> Attempt:
    """A gang's turn."""
    seats: list[Seat] = []
    refused: list[tuple[Waiting, Unplaced]] = []
    spare = len(gang.waiting) - gang.missing
    for pod in sorted(gang.waiting.values(), key=lambda each: each.order):
        decision, found = find(pod)
        if isinstance(decision, Unplaced):
            refused.append((pod, decision))
            if len(refused) > spare:
                break
        else:
            state.place(pod.uid, pod.needs, decision.name)
            seats.append(Seat(pod, decision.name, found))
    to_provide = [seat for seat in seats if seat.found.to_provide]
    enough = len(seats) >= gang.missing
    if enough and not to_provide:
        return Attempt(seats, refused, [])
    for seat in seats:
        state.displace(seat.pod.uid)
    if enough:
        return Attempt([], refused, to_provide)
    return Attempt([], _together(gang, len(seats), refused), [])


def _together(gang: Gang, fitting: int, refused: list[tuple[Waiting, Unplaced]]) -> list[tuple[Waiting, Unplaced]]:
    """One verdict for all that wait: why the gang as a whole has no place."""
    _, first = refused[0]
    cure = Change.NODES | Change.ROOM
    for _, verdict in refused:
        cure |= verdict.cure
    message = (
        f'{first.message} PodGroup "{gang.key.name}" needs room for {gang.missing} more pods at once,'
        f" there is room for {fitting}."
    )
    return [(pod, Unplaced(message, cure, shared=False)) for pod in gang.waiting.values()]
