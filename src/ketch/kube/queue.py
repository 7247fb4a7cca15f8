"""The work queue: which keys are to be reconciled, each by one worker at a time.

A key added while it waits is there once; added while a worker has it, it comes again when that worker is done. Failed
keys come back after a back-off that doubles from 5 ms to 5 minutes and is forgotten by the next success. Times come
from the clock and have no jitter, so that tests can tell them.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

from ketch.kube.clock import Clock
from ketch.kube.meta import ObjectKey

SHORTEST_BACK_OFF = 0.005
LONGEST_BACK_OFF = 300.0
_DOUBLINGS = 30  # beyond these the longest back-off is reached whatever it is; keeps the power small


class QueueClosed(Exception):
    """The queue gives no more keys."""


class WorkQueue:
    """Keys to work on. One event loop owns it; only ``take`` waits."""

    def __init__(self, clock: Clock, *, shortest: float = SHORTEST_BACK_OFF, longest: float = LONGEST_BACK_OFF) -> None:
        self._clock = clock
        self._shortest = shortest
        self._longest = longest
        # Invariant: a key is in _waiting exactly if it is in _dirty and not in _busy.
        self._waiting: deque[ObjectKey] = deque()
        self._dirty: set[ObjectKey] = set()
        self._busy: set[ObjectKey] = set()
        self._failures: dict[ObjectKey, int] = {}
        self._takers: deque[asyncio.Future[None]] = deque()
        # _due holds the earliest time of each delayed key; what in _timers differs from it is out of date.
        self._due: dict[ObjectKey, float] = {}
        self._timers: list[tuple[float, int, ObjectKey]] = []
        self._order = count()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = float("inf")
        self._closed = False

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether no key waits and no worker is busy; delayed keys do not count."""
        return not self._dirty and not self._busy

    def retries_within(self, seconds: float) -> bool:
        """Whether a key that failed comes back within ``seconds``."""
        limit = self._clock.monotonic() + seconds
        return any(self._due.get(key, float("inf")) <= limit for key in self._failures)

    def failures(self, key: ObjectKey) -> int:
        """How often in a row ``key`` failed."""
        return self._failures.get(key, 0)

    def add(self, key: ObjectKey) -> None:
        """Work on ``key`` as soon as a worker is free."""
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._busy:
            self._offer(key)

    def add_after(self, key: ObjectKey, seconds: float) -> None:
        """Work on ``key`` in ``seconds``, or earlier if that was asked for already."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._closed or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._timers, (due, next(self._order), key))
        if due < self._alarm_at:
            self._set_alarm(due)

    def retry(self, key: ObjectKey) -> float:
        """Work on ``key`` after its back-off, which is returned and grows with each call until ``forget``."""
        failed = self._failures.get(key, 0)
        self._failures[key] = failed + 1
        delay = min(self._longest, self._shortest * 2 ** min(failed, _DOUBLINGS))
        self.add_after(key, delay)
        return delay

    def forget(self, key: ObjectKey) -> None:
        """The back-off of ``key`` begins anew."""
        self._failures.pop(key, None)

    @asynccontextmanager
    async def take(self) -> AsyncGenerator[ObjectKey]:
        """The next key, this worker's alone until the block ends. Raises QueueClosed."""
        key = await self._next()
        try:
            yield key
        finally:
            self._busy.discard(key)
            if key in self._dirty:
                self._offer(key)

    def close(self) -> None:
        """Give no more keys: waiting ones are dropped, those being worked on may end."""
        self._closed = True
        self._waiting.clear()
        self._dirty.clear()
        self._due.clear()
        self._timers.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        while self._takers:
            self._wake()

    async def _next(self) -> ObjectKey:
        while not self._waiting:
            if self._closed:
                raise QueueClosed
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if self._waiting:  # the call that was meant for this one goes to another
                    self._wake()
                raise
        key = self._waiting.popleft()
        self._dirty.discard(key)
        self._busy.add(key)
        return key

    def _offer(self, key: ObjectKey) -> None:
        self._waiting.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    def _set_alarm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = asyncio.get_running_loop().create_task(self._ring())

    async def _ring(self) -> None:
        """Add delayed keys as they come due, until there are none."""
        while self._timers:
            self._alarm_at = self._timers[0][0]
            await self._clock.sleep(self._alarm_at - self._clock.monotonic())
            now = self._clock.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, _, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
        self._alarm, self._alarm_at = None, float("inf")
