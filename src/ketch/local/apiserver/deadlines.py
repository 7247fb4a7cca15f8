"""Waiting for something until a moment on the clock."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from ketch.kube.clock import Clock

T = TypeVar("T")


class Deadline:
    """A moment ``seconds`` from now; None never comes."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock.monotonic() + seconds

    def passed(self) -> bool:
        """Whether the moment has come."""
        return self._end is not None and self._clock.monotonic() >= self._end

    async def wait(self, work: Coroutine[Any, Any, T], at_most: float | None = None) -> T | None:
        """What ``work`` returns; None when the deadline, or ``at_most`` seconds, came first (``work`` is cancelled)."""
        left = [value for value in (at_most, self._left()) if value is not None]
        if not left:
            return await work
        task = asyncio.ensure_future(work)
        timer = asyncio.ensure_future(self._clock.sleep(min(left)))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, timer):
                if not each.done():
                    each.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await each

    def _left(self) -> float | None:
        return None if self._end is None else self._end - self._clock.monotonic()
