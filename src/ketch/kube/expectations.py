"""Writes that a controller's cache has not shown yet: until it has, counting would create or delete twice."""

from typing import Any, TypeVar

from ketch.kube.clock import Clock
from ketch.kube.informer import Informer
from ketch.kube.meta import KubeObject

K = TypeVar("K", bound=KubeObject)

PATIENCE_SECONDS = 60.0
"""After so long a write is taken as seen: its object came and went between two lists."""


class Expectations:
    """What owners wait to see in the cache of ``informer``: objects made for them, and ends that they asked for."""

    def __init__(self, informer: Informer[K], clock: Clock) -> None:
        self._informer: Informer[Any] = informer
        self._clock = clock
        self._open: dict[str, dict[tuple[str, str], float]] = {}
        self._owners: dict[tuple[str, str], str] = {}
        informer.add_handler(self._changed)

    def _changed(self, old: KubeObject | None, new: KubeObject | None) -> None:
        if new is not None:
            self._met(("+", new.metadata.uid))
            if new.metadata.deletion_timestamp is not None:
                self._met(("-", new.metadata.uid))
        elif old is not None:
            self._met(("+", old.metadata.uid))
            self._met(("-", old.metadata.uid))

    def _met(self, write: tuple[str, str]) -> None:
        owner = self._owners.pop(write, None)
        if owner is not None:
            self._open[owner].pop(write, None)
            if not self._open[owner]:
                del self._open[owner]

    def _expect(self, owner_uid: str, write: tuple[str, str]) -> None:
        self._open.setdefault(owner_uid, {})[write] = self._clock.monotonic() + PATIENCE_SECONDS
        self._owners[write] = owner_uid

    def created(self, owner_uid: str, obj: KubeObject) -> None:
        """``obj`` was made; the cache may have it already."""
        if self._informer.get(obj.key) is None:
            self._expect(owner_uid, ("+", obj.metadata.uid))

    def deleted(self, owner_uid: str, obj: KubeObject) -> None:
        """``obj`` was asked to go; the cache may know already."""
        seen: KubeObject | None = self._informer.get(obj.key)
        if seen is not None and seen.metadata.uid == obj.metadata.uid and seen.metadata.deletion_timestamp is None:
            self._expect(owner_uid, ("-", obj.metadata.uid))

    def met(self, owner_uid: str) -> bool:
        """Whether the cache shows all that was done for this owner."""
        now = self._clock.monotonic()
        for write in [write for write, deadline in self._open.get(owner_uid, {}).items() if deadline <= now]:
            self._met(write)
        return owner_uid not in self._open
