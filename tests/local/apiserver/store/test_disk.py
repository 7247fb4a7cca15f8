"""A full disk is told and survived; a torn file is read to its last whole transaction or refused, never begun anew."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.disks import small_disk

from ketch.local.apiserver.store.records import StoreCorrupt, StoreKey, StoreUnavailable
from ketch.local.apiserver.store.store import Store

OBJECTS = 200
LARGE = "x" * 4000


def key(name: str) -> StoreKey:
    return StoreKey("configmaps", "default", name)


def build(text: str = "") -> Callable[[int], dict[str, Any]]:
    return lambda revision: {"metadata": {"resourceVersion": str(revision)}, "data": {"text": text}}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    with small_disk(place, "8m") as disk:
        yield disk


def fill(place: Path) -> Path:
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return filler


async def test_a_full_disk_is_told_nothing_is_lost_and_room_is_enough_to_go_on(small: Path):
    store = Store(small / "kube.db")
    kept = {"first": await store.put(key("first"), build("first"), expected=None)}
    filler = fill(small)

    async def go_on_creating() -> None:
        for number in range(3000):
            name = f"while-{number}"
            kept[name] = await store.put(key(name), build(LARGE), expected=None)

    with pytest.raises(StoreUnavailable, match=r"the disk is full: .*kube\.db cannot be written.*make room") as refused:
        await go_on_creating()
    assert refused.value.full
    assert {name: store.get(key(name)) for name in kept} == kept

    filler.unlink()
    kept["after"] = await store.put(key("after"), build(), expected=None)
    await store.close()
    again = Store(small / "kube.db")
    assert {record.key.name for record in again.list("configmaps")} == set(kept)
    await again.close()


async def test_on_a_full_disk_objects_are_changed_and_deleted_for_long(small: Path):
    store = Store(small / "kube.db")
    record = await store.put(key("node"), build(LARGE), expected=None)
    for number in range(20):
        await store.put(key(f"o-{number}"), build(LARGE), expected=None)
    fill(small)
    for number in range(2000):  # more than the log has room for without being written anew
        record = await store.put(key("node"), build(f"{number:04}{LARGE[4:]}"), expected=record.revision)
    for number in range(20):
        found = store.get(key(f"o-{number}"))
        assert found is not None
        await store.remove(found.key, build(), expected=found.revision)
    await store.close()
    again = Store(small / "kube.db")
    assert [(each.key.name, each.value["data"]["text"][:4]) for each in again.list("configmaps")] == [("node", "1999")]
    await again.close()


def content(path: Path) -> bytes:
    return path.read_bytes()


def copy(folder: Path) -> Path:
    """As it is on disk now."""
    copied = folder / "copy"
    copied.mkdir()
    for path in folder.glob("kube.db*"):
        shutil.copy(path, copied)
    return copied


@pytest.fixture
async def written(tmp_path: Path) -> Path:
    """A database with everything in its main file."""
    store = Store(tmp_path / "kube.db")
    await asyncio.gather(*(store.put(key(f"o-{number}"), build(LARGE), expected=None) for number in range(OBJECTS)))
    await store.close()
    assert not (tmp_path / "kube.db-wal").exists()
    return tmp_path / "kube.db"


def cut_to(size: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * size) if size < 1 else int(size))


def overwrite(at: float, content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(int(path.stat().st_size * at))
            file.write(content)

    return change


@pytest.mark.parametrize(
    "tear",
    [
        pytest.param(cut_to(0), id="empty"),
        pytest.param(cut_to(100), id="a piece of its head"),
        pytest.param(cut_to(4096), id="its first page"),
        pytest.param(cut_to(0.5), id="half"),
        pytest.param(cut_to(0.98), id="all but its end"),
        pytest.param(overwrite(0, b"\0" * 4096), id="zeros at its beginning"),
        pytest.param(overwrite(0.4, os.urandom(40_000)), id="garbage in its middle"),
    ],
)
async def test_a_torn_database_is_refused_by_name_and_left_as_it_is(written: Path, tear: Callable[[Path], None]):
    tear(written)
    before = content(written)
    for _ in range(2):  # the second start finds what the first has left
        with pytest.raises(StoreCorrupt, match=r"kube\.db .*(restore it from a copy|move it away)"):
            Store(written)
    assert content(written) == before


async def test_garbage_behind_a_database_is_not_read(written: Path):
    with written.open("ab") as file:
        file.write(os.urandom(10_000))
    store = Store(written)
    assert store.count("configmaps") == OBJECTS
    await store.close()


async def test_a_log_that_lost_its_database_is_not_taken_for_another_s(tmp_path: Path):
    store = Store(tmp_path / "kube.db")
    await store.put(key("a"), build(), expected=None)
    copied = copy(tmp_path)
    await store.close()
    (copied / "kube.db").unlink()
    with pytest.raises(StoreCorrupt, match=r"kube\.db is missing, but .*kube\.db-wal is there"):
        Store(copied / "kube.db")


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9, 0.999])
async def test_of_a_torn_log_the_whole_transactions_are_kept(tmp_path: Path, cut: float):
    store = Store(tmp_path / "kube.db")
    for number in range(50):
        await store.put(key(f"o-{number}"), build(LARGE), expected=None)
    copied = copy(tmp_path)
    await store.close()
    cut_to(cut)(copied / "kube.db-wal")
    again = Store(copied / "kube.db")
    names = {record.key.name for record in again.list("configmaps")}
    assert names == {f"o-{number}" for number in range(len(names))}  # those that came first, without a gap
    assert len(names) == pytest.approx(50 * cut, abs=5)
    assert again.revision == 1 + len(names)
    await again.put(key("after"), build(), expected=None)
    await again.close()


async def test_a_start_that_was_cut_short_is_begun_again(tmp_path: Path):
    partial = sqlite3.connect(tmp_path / "kube.db.new")
    partial.execute("CREATE TABLE half (a)")
    partial.commit()
    partial.close()
    store = Store(tmp_path / "kube.db")
    await store.put(key("a"), build(), expected=None)
    await store.close()
    assert not (tmp_path / "kube.db.new").exists()
