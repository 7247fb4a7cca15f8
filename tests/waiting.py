"""Waiting for what happens elsewhere: in other processes, or in other tasks of this one."""

import inspect
from collections.abc import Callable
from typing import Any

from ketch.kube.clock import SYSTEM_CLOCK

PATIENCE, PAUSE = 30.0, 0.01


async def eventually(holds: Callable[[], Any], what: str = "it") -> Any:
    """What ``holds`` gives (or what it gives when awaited), once that is true. Fails when it never is."""
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE
    while True:
        found = holds()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert SYSTEM_CLOCK.monotonic() < deadline, f"{what} did not happen"
        await SYSTEM_CLOCK.sleep(PAUSE)
