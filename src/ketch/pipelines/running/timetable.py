"""When to look at what again: moments by name, of which the earliest is at hand."""

import heapq
from collections.abc import Iterator
from datetime import datetime


class Timetable:
    """Every operation costs the logarithm of what was ever entered; moments that were replaced are passed over."""

    def __init__(self) -> None:
        self._due: dict[str, datetime] = {}
        self._queue: list[tuple[datetime, str]] = []

    def __contains__(self, name: str | None) -> bool:
        return name in self._due

    def get(self, name: str) -> datetime | None:
        """The moment of ``name``."""
        return self._due.get(name)

    def enter(self, name: str, moment: datetime) -> None:
        """``name`` is due at ``moment``, and not before."""
        self._due[name] = moment
        heapq.heappush(self._queue, (moment, name))

    def strike(self, name: str) -> None:
        """Forget ``name``."""
        self._due.pop(name, None)

    def earliest(self) -> datetime | None:
        """The first moment of all."""
        while self._queue:
            moment, name = self._queue[0]
            if self._due.get(name) == moment:
                return moment
            heapq.heappop(self._queue)
        return None

    def ripe(self, now: datetime) -> Iterator[str]:
        """What is due; it stays so until it is struck or entered anew."""
        taken: list[tuple[datetime, str]] = []
        while (moment := self.earliest()) is not None and moment <= now:
            taken.append(heapq.heappop(self._queue))
        for entry in taken:
            heapq.heappush(self._queue, entry)
        yield from dict.fromkeys(name for _, name in taken)
