"""The store: order, conflicts, history, watches without gap, durability."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ketch.local.apiserver.store import collection, watcher
from ketch.local.apiserver.store import store as store_module
from ketch.local.apiserver.store.records import Expired, StoreCorrupt, StoreKey, StoreUnavailable, WriteConflict
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.store.watcher import Scope

CONFIG = "/configmaps"


def key(name: str, namespace: str = "default") -> StoreKey:
    return StoreKey(CONFIG, namespace, name)


def build(**fields: Any) -> Any:
    return lambda revision: {"metadata": {"resourceVersion": str(revision)}, **fields}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "kube.db")
    yield opened
    await opened.close()


async def test_what_cannot_be_written_harms_nobody_else(store: Store) -> None:
    odd, good = await asyncio.gather(
        store.put(key("odd"), build(data=1 << 70), expected=None),
        store.put(key("good"), build(data=1), expected=None),
        return_exceptions=True,
    )
    assert isinstance(odd, TypeError)
    assert store.get(key("good")) is good
    await store.put(key("odd"), build(data=1), expected=None)


async def test_a_write_is_read_and_outlives_the_store(store: Store, tmp_path: Path) -> None:
    record = await store.put(key("a"), build(data=1), expected=None)
    assert store.get(key("a")) is record
    assert record.value["metadata"]["resourceVersion"] == str(store.revision)
    await store.close()
    again = Store(tmp_path / "kube.db")
    found = again.get(key("a"))
    assert found is not None
    assert (found.value, found.revision, again.revision) == (record.value, record.revision, record.revision)
    await again.close()


async def test_large_objects_that_nobody_is_busy_with_rest_as_bytes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "WARM", 1)
    labelled = {"resourceVersion": "", "labels": {"app": "a"}}
    large = await store.put(key("large"), lambda _: {"metadata": labelled, "data": "x" * 9000}, expected=None)
    small = await store.put(key("small"), build(data="x"), expected=None)
    shared, own = large.value, small.value
    await store.put(key("other"), build(), expected=None)
    assert large.value is not shared
    assert (large.value, large.labels) == ({"metadata": labelled, "data": "x" * 9000}, {"app": "a"})
    assert (small.value is own, small.labels) == (True, {})
    await store.close()
    again = Store(tmp_path / "kube.db")
    for name in ("b", "c"):
        await again.put(key(name), build(), expected=None)
    found = again.get(key("large"))
    assert found is not None
    assert (found.value, found.labels) == (large.value, large.labels)
    await again.close()


async def test_revisions_never_go_back_even_after_the_newest_object_is_gone(store: Store, tmp_path: Path) -> None:
    record = await store.put(key("a"), build(), expected=None)
    gone = await store.remove(key("a"), build(), expected=record.revision)
    assert gone.revision > record.revision
    await store.close()
    again = Store(tmp_path / "kube.db")
    assert again.revision == gone.revision
    assert again.get(key("a")) is None
    await again.close()


async def test_of_two_writers_of_one_version_one_wins(store: Store) -> None:
    record = await store.put(key("a"), build(), expected=None)
    writes = (store.put(key("a"), build(who=who), expected=record.revision) for who in "xy")
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(item, WriteConflict) for item in outcomes) == 1


async def test_a_second_writer_sees_what_is_not_yet_on_disk(store: Store) -> None:
    first = asyncio.ensure_future(store.put(key("a"), build(), expected=None))
    await asyncio.sleep(0)  # noqa: TID251  # one turn of the loop: the first write is staged, not yet on disk
    assert store.get(key("a")) is None
    assert store.newest(key("a")) is not None
    with pytest.raises(WriteConflict):
        await store.put(key("a"), build(), expected=None)
    await first


async def test_lists_are_ordered_by_namespace_and_name(store: Store) -> None:
    for namespace, name in (("b", "z"), ("a", "y"), ("b", "c"), ("a", "x")):
        await store.put(key(name, namespace), build(), expected=None)
    names = [(record.key.namespace, record.key.name) for record in store.list(CONFIG)]
    assert names == [("a", "x"), ("a", "y"), ("b", "c"), ("b", "z")]
    assert [record.key.name for record in store.list(CONFIG, "b", ("b", "c"))] == ["z"]
    assert (store.count(CONFIG), store.count(CONFIG, "a")) == (4, 2)


async def test_an_old_list_shows_what_was(store: Store) -> None:
    first = await store.put(key("a"), build(data=1), expected=None)
    then = store.revision
    await store.put(key("a"), build(data=2), expected=first.revision)
    await store.put(key("b"), build(), expected=None)
    assert [record.value.get("data") for record in store.list_at(CONFIG, then)] == [1]


async def test_a_resumed_watch_misses_nothing_and_repeats_nothing(store: Store) -> None:
    await store.put(key("a"), build(), expected=None)
    seen = store.revision
    writes = [asyncio.ensure_future(store.put(key(f"n{index}"), build(), expected=None)) for index in range(50)]
    await writes[10]
    reader, missed = store.watch(Scope(CONFIG), seen)
    await asyncio.gather(*writes)
    revisions = [change.revision for change in missed]
    while len(revisions) < 50:
        revisions += [change.revision for change in await reader.changes()]
    assert revisions == sorted(set(revisions))
    assert revisions[0] == seen + 1
    store.unwatch(reader)
    assert store.watcher_count == 0


async def test_what_is_no_longer_remembered_is_expired(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "HISTORY", 5)
    start = store.revision
    for index in range(10):
        await store.put(key(f"n{index}"), build(), expected=None)
    with pytest.raises(Expired):
        store.watch(Scope(CONFIG), start)
    _, missed = store.watch(Scope(CONFIG), store.revision - 5)
    assert len(missed) == 5


async def test_history_does_not_outlive_the_store(store: Store, tmp_path: Path) -> None:
    await store.put(key("a"), build(), expected=None)
    seen = store.revision
    await store.put(key("b"), build(), expected=None)
    await store.close()
    again = Store(tmp_path / "kube.db")
    with pytest.raises(Expired):
        again.watch(Scope(CONFIG), seen)
    again.watch(Scope(CONFIG), again.revision)
    await again.close()


async def test_a_reader_that_falls_behind_is_cut_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "MOST_WAITING", 3)
    reader, _ = store.watch(Scope(CONFIG), None)
    for index in range(5):
        await store.put(key(f"n{index}"), build(), expected=None)
    assert await reader.changes() == ()
    assert reader.cut_off


async def test_closing_ends_watches(tmp_path: Path) -> None:
    store = Store(tmp_path / "kube.db")
    reader, _ = store.watch(Scope(CONFIG), None)
    waiting = asyncio.ensure_future(reader.changes())
    await store.close()
    assert await waiting == ()
    assert reader.closed


async def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    with pytest.raises(StoreCorrupt, match="not a Ketch database"):
        Store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    connection.close()


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kube.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreCorrupt, match=r"kube\.db cannot be read"):
        Store(path)


async def test_a_write_that_cannot_reach_the_disk_never_happened(store: Store, tmp_path: Path) -> None:
    await store.put(key("a"), build(), expected=None)
    blocker = sqlite3.connect(tmp_path / "kube.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.put(key("b"), build(), expected=None)
    assert store.newest(key("b")) is None
    blocker.execute("ROLLBACK")
    blocker.close()
    await store.put(key("b"), build(), expected=None)
    assert store.get(key("b")) is not None


WRITER = """
import asyncio, sys
from pathlib import Path
from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.store.watcher import Scope

async def main():
    store = Store(Path(sys.argv[1]))
    async def write(worker):
        number = 0
        while True:
            key = StoreKey("/configmaps", "default", f"w{worker}-{number}")
            await store.put(key, lambda revision: {"revision": revision}, expected=None)
            sys.stdout.write(f"{key.name}\\n")
            sys.stdout.flush()
            number += 1
    await asyncio.gather(*(write(worker) for worker in range(8)))

asyncio.run(main())
"""


async def test_kill_9_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path = tmp_path / "kube.db"
    acknowledged: list[str] = []
    for _ in range(3):
        process = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs here
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            begun = len(acknowledged)
            for line in process.stdout:
                acknowledged.append(line.strip())
                if len(acknowledged) - begun == 300:
                    os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # What is half written in the pipe may be cut; every whole line was acknowledged.
        store = Store(path)
        names = {record.key.name for record in store.list(CONFIG)}
        revisions = [record.revision for record in store.list(CONFIG)]
        assert set(acknowledged[:-1]) <= names
        assert len(set(revisions)) == len(revisions)
        assert max(revisions) == store.revision
        for name in names:
            record = store.get(key(name))
            assert record is not None
            await store.remove(key(name), build(), expected=record.revision)
        acknowledged.clear()
        await store.close()


async def test_a_write_staged_while_the_store_closes_is_kept_and_harms_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "kube.db")
    writing = asyncio.ensure_future(store.put(key("late"), build(data=1), expected=None))
    closing = asyncio.ensure_future(store.close())
    record, _ = await asyncio.gather(writing, closing)
    again = Store(tmp_path / "kube.db")
    found = again.get(key("late"))
    assert found is not None
    assert found.revision == record.revision
    await again.close()
