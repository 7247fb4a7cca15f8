"""No gang waits for ever behind smaller ones.

A gang that has found no room for half a minute, though an empty cluster would have enough, holds back what comes after
it in the queue and wants the same resources: so room gathers. It does for as long as its ``scheduleTimeoutSeconds``
say; if it has no place by then the others go on, and it may hold them back again when five times as long has passed.
One gang at a time; dearer pods and those that came before it are never held back. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ketch.local.scheduler.gangs import Gang
from ketch.local.scheduler.needs import Needs
from ketch.local.scheduler.queue import Order

PATIENCE = timedelta(seconds=30)
HOLD_SECONDS = 60
"""How long room is kept for a gang that does not say how long."""
REST = 5
"""After so many times as long it may be kept again."""


@dataclass
class Turns:
    """Which gang is to be placed next, if any."""

    _gang: Gang | None = None
    _until: datetime | None = None
    _order: Order | None = None
    _wanted: frozenset[str] = frozenset()
    _rests: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def refused(self, gang: Gang, now: datetime, would_fit: Callable[[], bool]) -> datetime | None:
        """A complete gang has found no room. Until when it holds others back, where that is new."""
        seconds = HOLD_SECONDS if gang.timeout is None else gang.timeout
        order = gang.entry.order
        if not seconds or self._gang is gang or (self._order is not None and self._order < order):
            return None
        if now - gang.complete_since < PATIENCE or now < self._rests.get(gang.uid, now):
            return None
        self._rests[gang.uid] = now + timedelta(seconds=seconds * REST)
        if not would_fit():
            return None
        self._gang, self._order, self._until = gang, order, now + timedelta(seconds=seconds)
        needs = [each.needs for each in gang.waiting.values()]
        self._wanted = frozenset(resource for each in needs for resource, _ in each.resources)
        return self._until

    def ends(self, gang: Gang) -> bool:
        """The gang has its place, or waits no longer; whether others were held back for it."""
        if not gang.waiting:
            self._rests.pop(gang.uid, None)
        if self._gang is not gang:
            return False
        self._gang = self._order = self._until = None
        return True

    def expires(self, now: datetime) -> Gang | None:
        """The gang whose time is over, if one's is."""
        if self._gang is None or self._until is None or now < self._until:
            return None
        gang = self._gang
        self._gang = self._order = self._until = None
        return gang

    def holds_back(self, order: Order, needs: Needs | None) -> str:
        """Why a pod (None: a gang) of that place in the queue must wait; empty when it need not."""
        if self._gang is None or self._order is None or order <= self._order:
            return ""
        if needs is not None and not any(resource in self._wanted for resource, _ in needs.resources):
            return ""
        return f'PodGroup "{self._gang.key.name}" has waited for longer and is placed first.'
