"""Pods that wait for a node: by priority, then by age; those that cannot be placed are parked until something changes.

Pods with equal needs are refused for equal reasons. So one of them is tried, and the others wait behind it: a thousand
pods of one Job cost one attempt per change, not a thousand.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ketch.kube.meta import ObjectKey
from ketch.local.scheduler.filters import Change
from ketch.local.scheduler.needs import Needs

Order = tuple[int, datetime, int]


class Waiting(NamedTuple):
    """A pod without a node. ``order`` sorts those to be tried sooner first."""

    uid: str
    key: ObjectKey
    needs: Needs
    order: Order


@dataclass
class Parked:
    """Pods that were refused alike: why, and what may cure it."""

    message: str
    cure: Change
    members: dict[str, Waiting] = field(default_factory=dict[str, Waiting])
    heap: list[tuple[Order, str]] = field(default_factory=list[tuple[Order, str]])

    def join(self, pod: Waiting) -> None:
        """One more pod with this verdict."""
        self.members[pod.uid] = pod
        heapq.heappush(self.heap, (pod.order, pod.uid))

    def first(self) -> Waiting:
        """The member to try first; there must be one."""
        while self.heap[0][1] not in self.members:
            heapq.heappop(self.heap)
        return self.members[self.heap[0][1]]


class Popped(NamedTuple):
    """The next pod. ``refused`` is the verdict on another with the same needs, which holds for this one too."""

    pod: Waiting
    refused: str | None = None


class Queue:
    """Not thread-safe; nothing in it waits.

    Invariant: a known pod is either active, or a member of one parked class, or in the hands of who popped it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Order, str]] = []
        self._active: dict[str, Waiting] = {}
        self._trials: set[str] = set()
        self._parked: dict[Needs | tuple[Needs, str], Parked] = {}
        self._class_of: dict[str, Needs | tuple[Needs, str]] = {}
        self._known: dict[str, Waiting] = {}
        self._arrivals = 0

    def __contains__(self, uid: str) -> bool:
        return uid in self._known

    def __len__(self) -> int:
        return len(self._known)

    @property
    def is_active(self) -> bool:
        """Whether a pod is to be placed next."""
        return bool(self._active)

    def order(self, priority: int, created: datetime) -> Order:
        """The place in the queue: higher priority first, then older, then sooner come."""
        self._arrivals += 1
        return (-priority, created, self._arrivals)

    def add(self, pod: Waiting) -> None:
        """A pod to be placed. One that is known keeps its place, unless its needs or labels have changed."""
        known = self._known.get(pod.uid)
        if known is not None and known.needs == pod.needs and known.needs.labels == pod.needs.labels:
            return
        if known is not None:
            self.remove(pod.uid)
        self._known[pod.uid] = pod
        self._activate(pod)

    def _activate(self, pod: Waiting, *, trial: bool = False) -> None:
        self._active[pod.uid] = pod
        if trial:
            self._trials.add(pod.uid)
        heapq.heappush(self._heap, (pod.order, pod.uid))

    def remove(self, uid: str) -> None:
        """The pod needs no node any more: deleted, or placed by someone else."""
        pod = self._known.pop(uid, None)
        if pod is None:
            return
        self._active.pop(uid, None)
        if uid in self._trials:
            self._trials.discard(uid)
            self._next_trial(pod.needs)
        self._leave_class(uid)

    def _leave_class(self, uid: str) -> None:
        name = self._class_of.pop(uid, None)
        if name is not None:
            parked = self._parked[name]
            parked.members.pop(uid, None)
            if not parked.members:
                del self._parked[name]

    def pop(self) -> Popped | None:
        """The next pod to place; None when none is active. Pods of a parked class come with its verdict, parked."""
        while self._heap:
            _, uid = heapq.heappop(self._heap)
            pod = self._active.pop(uid, None)
            if pod is None:
                continue
            parked = self._parked.get(pod.needs)
            if parked is not None and uid not in self._trials:
                parked.join(pod)
                self._class_of[uid] = pod.needs
                return Popped(pod, parked.message)
            return Popped(pod)
        return None

    def retry(self, pod: Waiting) -> None:
        """Try a popped pod again, through no fault of its own."""
        if pod.uid in self._known:
            self._activate(pod, trial=pod.uid in self._trials)

    def park(self, pod: Waiting, message: str, cure: Change, *, shared: bool = True) -> list[Waiting]:
        """A popped pod was refused. Returns all for whom the verdict is news; ``shared`` says it holds for its like."""
        self._trials.discard(pod.uid)
        if pod.uid not in self._known:
            return []
        name = pod.needs if shared else (pod.needs, pod.uid)
        parked = self._parked.get(name)
        if parked is None:
            parked = self._parked[name] = Parked(message, cure)
        news = [pod] if parked.message == message else [pod, *parked.members.values()]
        parked.message, parked.cure = message, cure
        parked.join(pod)
        self._class_of[pod.uid] = name
        if not shared:
            # Its like may still fit: they are not behind this verdict.
            self._next_trial(pod.needs)
        return news

    def placed(self, pod: Waiting) -> None:
        """A popped pod got its node: the next of its like may try."""
        self._trials.discard(pod.uid)
        self._known.pop(pod.uid, None)
        self._next_trial(pod.needs)

    def _next_trial(self, needs: Needs) -> None:
        parked = self._parked.get(needs)
        if parked is not None:
            self._try_first(parked)

    def _try_first(self, parked: Parked) -> None:
        pod = parked.first()
        self._leave_class(pod.uid)
        self._activate(pod, trial=True)

    def wake(self, change: Change) -> None:
        """Something changed: one of each class that it may cure is tried."""
        for parked in [parked for parked in self._parked.values() if parked.cure & change]:
            self._try_first(parked)

    def parked(self) -> Iterator[tuple[Waiting, str]]:
        """Those that cannot be placed, and why."""
        for parked in self._parked.values():
            for pod in parked.members.values():
                yield pod, parked.message
