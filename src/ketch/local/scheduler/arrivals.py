"""Pods that were placed while they were being created: room is kept for them until the cluster tells of them. Pure."""

from datetime import datetime, timedelta

LATE = timedelta(seconds=30)
"""After so long a pod is taken not to come: whoever created it was torn out of that."""


class Arrivals:
    """When each was placed, oldest first."""

    def __init__(self) -> None:
        self._placed: dict[str, datetime] = {}

    def __contains__(self, uid: str) -> bool:
        return uid in self._placed

    def expect(self, uid: str, now: datetime) -> None:
        """The pod was placed just now."""
        self._placed[uid] = now

    def come(self, uid: str) -> datetime | None:
        """The pod is there, or will not be; when it was placed."""
        return self._placed.pop(uid, None)

    def late(self, now: datetime) -> list[str]:
        """Those that will not come any more."""
        late: list[str] = []
        for uid, moment in self._placed.items():
            if now - moment < LATE:
                break
            late.append(uid)
        return late
