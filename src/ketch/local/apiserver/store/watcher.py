"""Watchers: who is told of changes, and what happens to those who do not keep up."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ketch.local.apiserver.store.records import Change

MOST_WAITING = 20_000


class Scope(NamedTuple):
    """What a watcher looks at: of a resource all, or what is in a namespace, has a name, is found by an index."""

    resource: str
    namespace: str | None = None
    name: str | None = None
    indexed: str = ""

    def concerns(self, change: Change) -> bool:
        """Whether the change is about something in here, or that was."""
        key = change.record.key
        if self.namespace not in (None, key.namespace) or self.name not in (None, key.name):
            return False
        return not self.indexed or self.indexed in _indexes(change)


def _indexes(change: Change) -> tuple[str, ...]:
    """What the object is, and was, found by."""
    now, previous = change.record.index, change.previous
    before = previous.index if previous is not None else ""
    return (now,) if now == before else (now, before)


class Watcher:
    """A queue of changes for one reader. A reader that lets more than MOST_WAITING pile up is cut off."""

    def __init__(self, scope: "Scope") -> None:
        self.scope = scope
        self.cut_off = False
        self.closed = False
        self._waiting: deque[Change] = deque()
        self._woken = False
        self._wake: asyncio.Future[None] | None = None

    def push(self, change: Change) -> None:
        """Queue a change for the reader."""
        if len(self._waiting) >= MOST_WAITING:
            self.cut_off = True
            self._waiting.clear()
        if not self.cut_off:
            self._waiting.append(change)
        self._notify()

    def close(self) -> None:
        """End the watch; the reader sees an empty batch."""
        self.closed = True
        self._notify()

    def wake(self) -> None:
        """Let the reader look up although nothing changed; it sees an empty batch."""
        self._woken = True
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def changes(self) -> Sequence[Change]:
        """The next changes; empty when woken, and once closed or cut off."""
        while not (self._waiting or self.closed or self.cut_off or self._woken):
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        self._woken = False
        batch = tuple(self._waiting)
        self._waiting.clear()
        return () if self.cut_off else batch


NOBODY: dict[Watcher, None] = {}
Looked = tuple[str, str | None, str | None, str]
"""A scope, or what equals one."""


class Watchers:
    """All watchers, by what they look at: a change costs as much as the watchers it concerns."""

    def __init__(self) -> None:
        self._by_scope: dict[Looked, dict[Watcher, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_scope.values()))

    def add(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of changes from now on."""
        self._by_scope.setdefault(watcher.scope, {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Forget ``watcher``; harmless when it is not there."""
        if (members := self._by_scope.get(watcher.scope)) is not None:
            members.pop(watcher, None)
            if not members:
                del self._by_scope[watcher.scope]

    def publish(self, change: Change) -> None:
        """Hand a change to those whom it concerns. Who came last hears of it first: the controllers of this process
        were there from the beginning, and to whom it has to travel it should be on its way while they work."""
        for scope in _scopes(change):
            for watcher in reversed(self._by_scope.get(scope, NOBODY)):
                watcher.push(change)

    def close(self) -> None:
        """End every watch."""
        for members in self._by_scope.values():
            for watcher in members:
                watcher.close()


def _scopes(change: Change) -> Iterator[Looked]:
    """All scopes that a change is in, the narrow ones first. Plain tuples: they are made for every write."""
    resource, namespace, name = change.record.key
    for index in _indexes(change):
        if index:
            yield resource, namespace, name, index
            yield resource, None, name, index
            yield resource, namespace, None, index
            yield resource, None, None, index
    yield resource, namespace, name, ""
    yield resource, None, name, ""
    yield resource, namespace, None, ""
    yield resource, None, None, ""
