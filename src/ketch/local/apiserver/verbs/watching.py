"""A watch that has begun: changes as one watcher sees them, with bookmarks, until its time is over."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ketch.kube.clock import Clock
from ketch.local.apiserver.custom.conversion import as_served
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Change, Record
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.store.watcher import Watcher
from ketch.local.apiserver.verbs.selection import Selection

BOOKMARK_SECONDS = 60.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of a watch, as the API has them."""

    after: int | None
    initial: bool
    end_mark: bool
    bookmarks: bool
    seconds: int | None


@dataclass(slots=True)
class WatchedEvent:
    """One event: a stored ``record``, or a ``value`` made for it.

    ``frames`` is where a front may keep its bytes of it, shared by all who see it the same way.
    """

    type: str
    value: Mapping[str, Any]
    record: Record | None = None
    frames: dict[str, bytes] | None = None


class EventStream:
    """Iterates batches of events, in order, none left out. Ends when told, when its time is over, or when the reader
    fell too far behind; who then resumes is told by Gone if it missed something.
    """

    def __init__(  # what a watch stands on
        self, resource: ServedResource, wanted: Selection, asked: Asked, watcher: Watcher, store: Store, clock: Clock
    ) -> None:
        self._resource = resource
        self._wanted = wanted
        self._asked = asked
        self._watcher = watcher
        self._store = store
        self._clock = clock
        self._first: deque[Sequence[WatchedEvent]] = deque()
        self._end = None if asked.seconds is None else clock.monotonic() + asked.seconds
        self._timer: asyncio.Task[None] | None = None

    def begin(self, existing: Sequence[Record], missed: Sequence[Change]) -> None:
        """Queue what comes before the first change."""
        wanted, resource = self._wanted, self._resource
        if events := [
            WatchedEvent("ADDED", as_served(resource, record.value), record)
            for record in existing
            if wanted.matches is None or wanted.matches(record)
        ]:
            self._first.append(events)
        if self._asked.end_mark:
            self._first.append([bookmark(resource, self._store.revision, {INITIAL_EVENTS_END: "true"})])
        if events := select_events(resource, wanted, missed):
            self._first.append(events)
        if self._end is not None or self._asked.bookmarks:
            self._timer = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        """Wake the reader when a bookmark is due and when the time is over."""
        while self._end is None or self._clock.monotonic() < self._end:
            wait = BOOKMARK_SECONDS if self._asked.bookmarks else float("inf")
            if self._end is not None:
                wait = min(wait, self._end - self._clock.monotonic())
            await self._clock.sleep(wait)
            self._watcher.wake()

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> Sequence[WatchedEvent]:
        if self._first:
            return await self._converted(self._first.popleft())
        while True:
            changes = await self._watcher.changes()
            if changes:
                if events := select_events(self._resource, self._wanted, changes):
                    return await self._converted(events) if self._resource.converter is not None else events
            elif self._watcher.closed or self._watcher.cut_off or self._over():
                raise StopAsyncIteration
            elif self._asked.bookmarks:
                return [bookmark(self._resource, self._store.revision)]

    async def _converted(self, events: Sequence[WatchedEvent]) -> Sequence[WatchedEvent]:
        """The events in the version that is watched. Raises APIError."""
        converter, resource = self._resource.converter, self._resource
        if converter is None:
            return events
        values = await converter.converted([event.value for event in events], resource.api_version)
        return [WatchedEvent(event.type, value) for event, value in zip(events, values, strict=True)]

    def _over(self) -> bool:
        return self._end is not None and self._clock.monotonic() >= self._end

    def stop(self) -> None:
        """Let the iteration end."""
        self._watcher.close()

    async def end(self) -> None:
        """Release the timer."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.wait({self._timer})


def bookmark(resource: ServedResource, revision: int, annotations: Mapping[str, str] | None = None) -> WatchedEvent:
    """A BOOKMARK: nothing older than ``revision`` will come."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    value = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return WatchedEvent("BOOKMARK", value)


def select_events(resource: ServedResource, wanted: Selection, changes: Sequence[Change]) -> list[WatchedEvent]:
    """The changes as this watcher sees them: objects that begin or cease to match come and go."""
    events: list[WatchedEvent] = []
    for change in changes:
        record, previous = change.record, change.previous
        if wanted.name is not None and record.key.name != wanted.name:
            continue
        if wanted.matches is None:
            now, before = not change.deleted, previous is not None
        else:
            now = not change.deleted and wanted.matches(record)
            before = previous is not None and wanted.matches(previous)
        if now:
            kind = "MODIFIED" if before else "ADDED"
        elif before:
            kind = "DELETED"
        else:
            continue
        events.append(WatchedEvent(kind, as_served(resource, record.value), record, change.frames))
    return events
