"""The store: committed state for readers, newest state for writers, one order for all."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import orjson

from ketch.local.apiserver.store.collection import Collection
from ketch.local.apiserver.store.journal import Batch, Journal, LogEntry
from ketch.local.apiserver.store.records import Change, Record, StoreKey, StoreUnavailable, WriteConflict
from ketch.local.apiserver.store.watcher import Scope, Watcher, Watchers

WARM = 512
"""So many objects that were written last are kept as values; whoever watches is about to ask for those."""

FEW = 1000
"""Of a resource with no more objects all are kept as values, but the large ones: some of them are asked for with every
write, and as values they take some ten times the room."""

Build = Callable[[int], dict[str, Any]]
"""Makes the stored value, given the revision of its write."""

Index = Callable[[Mapping[str, Any]], str]
"""What an object is found by; empty for nothing."""


class _Staged(NamedTuple):
    """A write on its way to the disk."""

    record: Record
    deleted: bool
    committed: asyncio.Future[Record]


class Store:
    """Versioned JSON objects in ``path``. One event loop owns it; every method is called there.

    ``indexes`` say, by resource, what objects are found by besides their keys: they may then be listed and watched by
    that. Raises StoreCorrupt on opening a file that is not this store's.
    """

    def __init__(self, path: Path, indexes: Mapping[str, Index] | None = None) -> None:
        self._indexes = indexes or {}
        self._journal = Journal(path)
        self._revision = self._assigned = self._journal.revision()
        self._collections: dict[str, Collection] = {}
        self._pending: dict[StoreKey, Record | None] = {}
        self._staged: list[_Staged] = []
        self._commits: dict[StoreKey, asyncio.Future[Record]] = {}
        self._in_flight = 0
        self._watchers = Watchers()
        self._observers: dict[str, list[Callable[[Change], None]]] = {}
        self._observers_of_all: list[Callable[[Change], None]] = []
        self._warm: deque[Change] = deque()
        for key, revision, value in self._journal.objects():
            known = orjson.loads(value) if key.resource in self._indexes else None
            self._collection(key.resource).load(self._record(key, known, revision, value))
        for resource, collection in self._collections.items():
            for record in collection.records(None):
                record.rest(keeps=self._keeps(resource))
        self._loaded = self._revision
        self._journal.start()

    @property
    def revision(self) -> int:
        """The newest committed revision."""
        return self._revision

    @property
    def watcher_count(self) -> int:
        """How many watches are open."""
        return len(self._watchers)

    def resources(self) -> Sequence[str]:
        """Resources that have, or had since the start, objects."""
        return tuple(self._collections)

    def _collection(self, resource: str) -> Collection:
        collection = self._collections.get(resource)
        if collection is None:
            # A resource first met after the start has no history before its first change, and missed none.
            collection = self._collections[resource] = Collection(getattr(self, "_loaded", self._revision))
        return collection

    def _record(
        self, key: StoreKey, value: dict[str, Any] | None, revision: int, encoded: bytes | None = None
    ) -> Record:
        key = StoreKey(intern(key.resource), intern(key.namespace), key.name)
        index = self._indexes.get(key.resource)
        return Record(key, value, revision, encoded, index(value) if index is not None and value is not None else "")

    def _keeps(self, resource: str) -> bool:
        """Whether the resource's objects stay values."""
        return len(self._collections[resource]) <= FEW

    def get(self, key: StoreKey) -> Record | None:
        """The committed object, or None."""
        collection = self._collections.get(key.resource)
        return collection.get(key.namespace, key.name) if collection else None

    def newest(self, key: StoreKey) -> Record | None:
        """The object as the next writer must see it: also what is not yet on disk."""
        return self._pending[key] if key in self._pending else self.get(key)

    def list(
        self, resource: str, namespace: str | None = None, after: tuple[str, str] = ("", ""), index: str = ""
    ) -> Iterator[Record]:
        """Committed objects in order of (namespace, name), behind ``after``; all, or those found by ``index``."""
        collection = self._collection(resource)
        return collection.indexed(index, namespace, after) if index else collection.records(namespace, after)

    def list_at(
        self, resource: str, revision: int, namespace: str | None = None, after: tuple[str, str] = ("", "")
    ) -> Iterator[Record]:
        """Objects as they were at ``revision``, in order, behind ``after``. Raises Expired."""
        collection = self._collection(resource)
        then = collection.undone_to(revision)
        if not then:
            return collection.records(namespace, after)
        records = {record.key: record for record in collection.records(namespace, after) if record.key not in then}
        for key, record in then.items():
            inside = (namespace is None or key.namespace == namespace) and (key.namespace, key.name) > after
            if record is not None and inside:
                records[key] = record
        return iter(sorted(records.values(), key=lambda record: record.key))

    def count(self, resource: str, namespace: str | None = None) -> int:
        """How many committed objects there are."""
        collection = self._collections.get(resource)
        return collection.count(namespace) if collection else 0

    def count_after(self, resource: str, namespace: str | None, after: tuple[str, str]) -> int:
        """How many committed objects ``list`` gives behind ``after``."""
        return self._collection(resource).count_after(namespace, after)

    async def put(self, key: StoreKey, build: Build, *, expected: int | None) -> Record:
        """Write the object if its newest revision is ``expected`` (None: it must not exist); returns once on disk.

        Raises WriteConflict, StoreUnavailable.
        """
        current = self.newest(key)
        if (current.revision if current else None) != expected:
            raise WriteConflict(current)
        if current is None:
            self._journal.check_room()
        self._assigned += 1
        return await self._stage(self._record(key, build(self._assigned), self._assigned), deleted=False)

    async def remove(self, key: StoreKey, build: Build, *, expected: int) -> Record:
        """Delete the object if its newest revision is ``expected``; returns its last version, once on disk.

        ``build`` makes that last version, which watchers are told. Raises WriteConflict, StoreUnavailable.
        """
        current = self.newest(key)
        if current is None or current.revision != expected:
            raise WriteConflict(current)
        self._assigned += 1
        return await self._stage(self._record(key, build(self._assigned), self._assigned), deleted=True)

    async def settled(self, record: Record) -> None:
        """Wait until ``record``, which ``newest`` gave, is on disk. Raises StoreUnavailable."""
        if self._pending.get(record.key) is record:
            await asyncio.shield(self._commits[record.key])

    async def _stage(self, record: Record, *, deleted: bool) -> Record:
        if not deleted:
            _ = record.encoded  # made here: what cannot be written is its own writer's trouble and nobody else's
        loop = asyncio.get_running_loop()
        self._pending[record.key] = None if deleted else record
        if not self._staged:
            loop.call_soon(self._flush)
        staged = _Staged(record, deleted, loop.create_future())
        self._staged.append(staged)
        self._commits[record.key] = staged.committed
        return await asyncio.shield(staged.committed)

    def _flush(self) -> None:
        """Send everything staged in this turn of the loop to the journal as one batch."""
        staged, self._staged = self._staged, []
        if not staged:
            return  # closing, or a failure, was quicker than the turn that this call waited for
        loop = asyncio.get_running_loop()
        entries = [
            LogEntry(item.record.key, item.record.revision, None if item.deleted else item.record.encoded)
            for item in staged
        ]
        self._in_flight += 1

        def done(failure: StoreUnavailable | None) -> None:
            loop.call_soon_threadsafe(self._settle, staged, failure)

        self._journal.submit(Batch(entries, done))

    def _settle(self, staged: Sequence[_Staged], failure: StoreUnavailable | None) -> None:
        self._in_flight -= 1
        if failure is not None:
            self._fail(staged, failure)
            return
        for record, deleted, committed in staged:
            collection = self._collection(record.key.resource)
            change = Change(record, collection.get(record.key.namespace, record.key.name), deleted=deleted)
            collection.apply(change)
            self._keep_warm(change)
            self._revision = record.revision
            if self._commits.get(record.key) is committed:
                self._pending.pop(record.key, None)
                del self._commits[record.key]
            for observer in self._observers.get(record.key.resource, ()):
                observer(change)
            for observer in self._observers_of_all:
                observer(change)
            self._watchers.publish(change)
            if not committed.done():
                committed.set_result(record)

    def _keep_warm(self, change: Change) -> None:
        self._warm.append(change)
        if len(self._warm) > WARM:
            rested = self._warm.popleft()
            rested.rest(keeps=self._keeps(rested.record.key.resource))

    def _fail(self, staged: Sequence[_Staged], failure: StoreUnavailable) -> None:
        """Nothing of ``staged`` happened; once no write is on its way any more, begin again from what is committed."""
        for item in staged:
            if not item.committed.done():
                item.committed.set_exception(failure)
        if self._in_flight == 0:
            for item in self._staged:
                item.committed.set_exception(failure)
            self._staged = []
            self._pending.clear()
            self._commits.clear()
            self._journal.recover()

    def observe(self, resource: str, observer: Callable[[Change], None]) -> None:
        """Call ``observer`` with each committed change, before its writer and its watchers hear of it."""
        self._observers.setdefault(resource, []).append(observer)

    def observe_all(self, observer: Callable[[Change], None]) -> None:
        """Call ``observer`` with each committed change of whatever resource, as ``observe`` does."""
        self._observers_of_all.append(observer)

    def watch(self, scope: Scope, after: int | None) -> tuple[Watcher, Sequence[Change]]:
        """Begin to watch: the watcher, and what happened after ``after`` (None: now) already. Raises Expired.

        Changes handed over and changes queued meet without gap or overlap. End with ``unwatch``.
        """
        missed = () if after is None else self._collection(scope.resource).changes_after(after)
        missed = [change for change in missed if scope.concerns(change)]
        watcher = Watcher(scope)
        self._watchers.add(watcher)
        return watcher, missed

    def unwatch(self, watcher: Watcher) -> None:
        """End a watch; harmless when it has ended."""
        self._watchers.remove(watcher)

    async def close(self) -> None:
        """End all watches, write what is staged, close the log."""
        self._watchers.close()
        if self._staged:
            self._flush()
        await asyncio.get_running_loop().run_in_executor(None, self._journal.close)
