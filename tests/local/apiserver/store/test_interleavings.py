"""The store's laws under any interleaving: one order, nothing acknowledged is lost, every watcher sees all once.

A machine writes, deletes, watches, lets history go, reads disks that fail, and opens the store again as it was left:
closed properly, or copied from under it as a kill leaves it. A plain model beside it knows what was acknowledged.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ketch.local.apiserver.store import collection
from ketch.local.apiserver.store.records import Change, Expired, StoreKey, StoreUnavailable, WriteConflict
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.store.watcher import Scope, Watcher

NAMES = st.sampled_from(["a", "b", "c"])
SPACES = st.sampled_from(["x", "y"])
RESOURCE = "/things"
SHORT_HISTORY = 6
SCOPES = st.builds(
    Scope,
    st.just(RESOURCE),
    namespace=st.none() | SPACES,
    name=st.none() | NAMES,
    indexed=st.sampled_from(["", "even", "odd"]),
)


def parity(value: Mapping[str, Any]) -> str:
    """What things are found by; last versions of what is deleted say nothing of it."""
    return ("even", "odd")[value["n"] % 2] if "n" in value else ""


class Reader:
    """A watcher and what it was told: from ``start`` on, of what it looks at."""

    def __init__(self, watcher: Watcher, start: int, missed: Any) -> None:
        self.watcher = watcher
        self.start = start
        self.seen: list[tuple[int, str, str, bool]] = [_told(change) for change in missed]

    async def catch_up(self) -> None:
        while True:
            self.watcher.wake()
            changes = await self.watcher.changes()
            if not changes:
                return
            self.seen += map(_told, changes)


def _told(change: Change) -> tuple[int, str, str, bool]:
    return change.revision, change.record.key.namespace, change.record.key.name, change.deleted


class Interleavings(RuleBasedStateMachine):
    """Steps are what clients and the world do; invariants are the laws."""

    short: ClassVar[int] = SHORT_HISTORY

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="interleavings-"))
        self.count = 0
        self.acknowledged: list[tuple[int, str, str, bool]] = []
        self.numbers: dict[int, int] = {}
        self.values: dict[tuple[str, str], tuple[int, int]] = {}
        self.readers: list[Reader] = []
        self.horizon = 0
        self.store = self.run(self.opened())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    @property
    def path(self) -> Path:
        return self.folder / f"{self.count}.db"

    async def opened(self) -> Store:
        store = Store(self.path, {RESOURCE: parity})
        self.horizon = store.revision
        # One watcher of everything is there from the beginning, so that no change goes unwatched.
        watcher, missed = store.watch(Scope(RESOURCE), store.revision)
        self.readers.append(Reader(watcher, store.revision, missed))
        return store

    # what clients do ----------------------------------------------------------------------------------------------

    async def write(self, space: str, name: str, number: int) -> None:
        key = StoreKey(RESOURCE, space, name)
        newest = self.store.newest(key)
        record = await self.store.put(
            key, lambda revision: {"n": number, "r": revision}, expected=newest.revision if newest else None
        )
        self.acknowledged.append((record.revision, space, name, False))
        self.numbers[record.revision] = number
        self.values[space, name] = (record.revision, number)

    async def delete(self, space: str, name: str) -> None:
        key = StoreKey(RESOURCE, space, name)
        newest = self.store.newest(key)
        if newest is None:
            return
        record = await self.store.remove(key, lambda revision: {"r": revision}, expected=newest.revision)
        self.acknowledged.append((record.revision, space, name, True))
        self.values.pop((space, name), None)

    async def at_once(self, steps: list[tuple[bool, str, str, int]]) -> None:
        """Writers in one turn of the loop: each stands on what the one before it staged."""
        work = [
            self.delete(space, name) if gone else self.write(space, name, number) for gone, space, name, number in steps
        ]
        await asyncio.gather(*work)
        # Acknowledgements of one batch come in order; what counts for a name is its last revision.
        for space, name in {(space, name) for _, space, name, _ in steps}:
            last = max((each for each in self.acknowledged if each[1:3] == (space, name)), default=None)
            if last is None:
                continue
            if last[3]:
                self.values.pop((space, name), None)
            elif (found := self.store.get(StoreKey(RESOURCE, space, name))) is not None:
                self.values[space, name] = (last[0], found.value["n"])

    @rule(steps=st.lists(st.tuples(st.booleans(), SPACES, NAMES, st.integers(0, 9)), min_size=1, max_size=6))
    def several_writes(self, steps: list[tuple[bool, str, str, int]]) -> None:
        self.run(self.at_once(steps))

    @rule(space=SPACES, name=NAMES)
    def a_writer_who_is_late(self, space: str, name: str) -> None:
        async def late() -> None:
            with pytest.raises(WriteConflict):
                await self.store.put(StoreKey(RESOURCE, space, name), lambda _: {}, expected=10**9)

        self.run(late())

    @rule(scope=SCOPES, back=st.integers(0, 12))
    def a_watch_begins(self, scope: Scope, back: int) -> None:
        start = max(1, self.store.revision - back)

        async def begin() -> None:
            try:
                watcher, missed = self.store.watch(scope, start)
            except Expired:
                # Only where history really is gone: before this store was opened, or more than it keeps.
                since = [each for each in self.acknowledged if each[0] > start]
                assert start < self.horizon or len(since) > self.short
                return
            self.readers.append(Reader(watcher, start, missed))

        self.run(begin())

    @precondition(lambda self: self.readers)
    @rule()
    def watchers_read(self) -> None:
        for reader in self.readers:
            self.run(reader.catch_up())

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(0, 100))
    def a_watch_ends(self, which: int) -> None:
        reader = self.readers.pop(which % len(self.readers))
        self.run(reader.catch_up())
        self.check(reader)
        self.store.unwatch(reader.watcher)

    @rule(back=st.integers(0, 12))
    def a_list_of_the_past(self, back: int) -> None:
        then = max(1, self.store.revision - back)
        try:
            found = {(each.key.namespace, each.key.name) for each in self.store.list_at(RESOURCE, then)}
        except Expired:
            return
        expected: set[tuple[str, str]] = set()
        for revision, space, name, deleted in sorted(self.acknowledged):
            if revision <= then:
                (expected.discard if deleted else expected.add)((space, name))
        assert found == expected

    # what the world does ------------------------------------------------------------------------------------------

    @rule(steps=st.lists(st.tuples(st.just(False), SPACES, NAMES, st.integers(0, 9)), min_size=1, max_size=3))
    def the_disk_fails(self, steps: list[tuple[bool, str, str, int]]) -> None:
        journal: Any = self.store._journal
        commit = journal._commit

        async def fail() -> None:
            journal._commit = lambda _: StoreUnavailable("no space left on device")
            try:
                work = [self.write(space, name, number) for _, space, name, number in steps]
                outcomes = await asyncio.gather(*work, return_exceptions=True)
            finally:
                journal._commit = commit
            assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)

        self.run(fail())

    @rule()
    def closed_and_opened(self) -> None:
        self.leave()
        self.run(self.store.close())
        self.store = self.run(self.opened())

    @rule(steps=st.lists(st.tuples(st.booleans(), SPACES, NAMES, st.integers(0, 9)), max_size=3))
    def killed_and_opened(self, steps: list[tuple[bool, str, str, int]]) -> None:
        """The files are taken as they lie while the store is open: what was acknowledged must be in them."""
        if steps:
            self.run(self.at_once(steps))
        self.leave()
        old, store = self.path, self.store
        self.count += 1
        for suffix in ("", "-wal"):
            if (file := old.with_name(old.name + suffix)).exists():
                shutil.copy(file, self.path.with_name(self.path.name + suffix))
        self.run(store.close())
        self.store = self.run(self.opened())

    def leave(self) -> None:
        for reader in self.readers:
            self.run(reader.catch_up())
            self.check(reader)
        self.readers = []

    # the laws -----------------------------------------------------------------------------------------------------

    def check(self, reader: Reader) -> None:
        scope, wanted = reader.watcher.scope, list[tuple[int, str, str, bool]]()
        found_by: dict[tuple[str, str], str] = {}
        for each in sorted(self.acknowledged):
            revision, space, name, deleted = each
            before = found_by.get((space, name), "")
            now = "" if deleted else parity({"n": self.numbers[revision]})
            found_by[space, name] = now
            inside = scope.namespace in (None, space) and scope.name in (None, name)
            if revision > reader.start and inside and (not scope.indexed or scope.indexed in (before, now)):
                wanted.append(each)
        assert reader.seen == wanted

    @invariant()
    def revisions_are_one_order(self) -> None:
        revisions = [each[0] for each in sorted(self.acknowledged)]
        assert len(set(revisions)) == len(revisions)
        assert self.store.revision >= max(revisions, default=1)

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        found = {
            (each.key.namespace, each.key.name): (each.revision, each.value["n"]) for each in self.store.list(RESOURCE)
        }
        assert found == self.values
        assert self.store.count(RESOURCE) == len(self.values)
        for index in ("even", "odd"):
            indexed = [(each.key.namespace, each.key.name) for each in self.store.list(RESOURCE, index=index)]
            assert indexed == sorted(place for place, (_, n) in self.values.items() if parity({"n": n}) == index)

    def teardown(self) -> None:
        self.leave()
        self.run(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def short_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "HISTORY", SHORT_HISTORY)


class TestInterleavings(Interleavings.TestCase):
    settings = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
