"""Time as a parameter: everything that asks for the time or waits for it takes a ``Clock``."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and sleep; tests own all three."""

    def now(self) -> datetime:
        """The wall time, timezone-aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait ``seconds`` (at once when ≤ 0)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The wall time, timezone-aware UTC."""
        return datetime.now(UTC)  # noqa: TID251  # the one place

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait ``seconds`` (at once when ≤ 0)."""
        await asyncio.sleep(max(0.0, seconds))  # noqa: TID251  # the one place


SYSTEM_CLOCK = SystemClock()
