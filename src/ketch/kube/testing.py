"""What tests of controllers need: time that moves only when told."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

_TURNS = 20  # of the loop, for what was woken to do its work


class VirtualClock:
    """A ``Clock`` that stands still until ``advance``; whole days pass in no time."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> datetime:
        """The wall time: the start and what has been advanced."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds advanced."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until ``advance`` has come so far (one turn of the loop when ≤ 0)."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251  # a turn of the loop, no time
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: sleepers wake in order, each at its own time, and have their turns of the loop."""
        end = self._elapsed + seconds
        await _turns()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue  # cancelled
            self._elapsed = max(self._elapsed, due)
            woken.set_result(None)
            await _turns()
        self._elapsed = end


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)  # noqa: TID251  # a turn of the loop, no time
