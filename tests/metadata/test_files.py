"""The platform database on a full disk, and torn: told by name, never begun anew, made whole or not at all."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.disks import small_disk
from tests.metadata.test_database import an_artifact, url

from ketch.metadata.database import Database, DatabaseFull, DatabaseUnusable
from ketch.metadata.tables import Artifact


@pytest.fixture
async def written(tmp_path: Path) -> Path:
    path = tmp_path / "platform.db"
    database = Database(url(path))
    await database.open()
    async with database.transaction() as session:
        session.add_all([an_artifact(f"a-{number}") for number in range(300)])
    await database.close()
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 10, 99, 4096, 0.5, 0.99], ids=str)
async def test_a_database_that_was_cut_off_is_refused_and_left_as_it_is(written: Path, size: float):
    os.truncate(written, int(len(content(written)) * size) if isinstance(size, float) else size)
    before = content(written)
    for _ in range(2):
        database = Database(url(written))
        with pytest.raises(DatabaseUnusable, match=r"platform\.db (is empty|is cut off).*restore it from a copy"):
            await database.open()
        await database.close()
    assert content(written) == before


async def test_garbage_behind_it_is_not_read(written: Path):
    os.truncate(written, len(content(written)) + 10_000)
    database = Database(url(written))
    await database.open()
    async with database.session() as session:
        assert await session.get(Artifact, "a-299") is not None
    await database.close()


async def test_what_stands_in_the_log_is_not_missed(tmp_path: Path):
    path = tmp_path / "platform.db"
    database = Database(url(path))
    await database.open()
    async with database.transaction() as session:
        session.add_all([an_artifact(f"a-{number}") for number in range(300)])
    copy = tmp_path / "copy"
    copy.mkdir()
    for each in ("platform.db", "platform.db-wal"):
        (copy / each).write_bytes(content(tmp_path / each))
    await database.close()
    again = Database(url(copy / "platform.db"))
    await again.open()
    async with again.session() as session:
        assert await session.get(Artifact, "a-299") is not None
    await again.close()
    (copy / "platform.db").unlink()
    (copy / "platform.db-wal").write_bytes(b"left")
    orphaned = Database(url(copy / "platform.db"))
    with pytest.raises(DatabaseUnusable, match=r"platform\.db is missing, but .*-wal is there"):
        await orphaned.open()
    await orphaned.close()


async def test_a_first_start_that_was_cut_short_is_begun_again(tmp_path: Path):
    half = sqlite3.connect(tmp_path / "platform.db.new")
    half.execute("CREATE TABLE half (a)")
    half.commit()
    half.close()
    database = Database(url(tmp_path / "platform.db"))
    await database.open()
    async with database.transaction() as session:
        session.add(an_artifact("a"))
    await database.close()
    assert os.listdir(tmp_path) == ["platform.db"]  # noqa: PTH208  # names are all that is wanted


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    with small_disk(place, "4m") as disk:
        yield disk


def fill(path: Path, size: int) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(bytes(size))


async def add_many(database: Database, done: Callable[[int], None]) -> None:
    for number in range(100_000):
        async with database.transaction() as session:
            session.add_all([an_artifact(f"n-{number}-{each}") for each in range(100)])
        done(number)


async def test_a_full_disk_is_told_and_what_was_written_is_there(small: Path):
    database = Database(url(small / "platform.db"))
    await database.open()
    fill(small / "filler", 2 << 20)
    last: list[int] = []
    with pytest.raises(DatabaseFull, match=r"the disk is full: .*platform\.db.* cannot be written: make room"):
        await add_many(database, last.append)
    async with database.session() as session:
        assert await session.get(Artifact, f"n-{last[-1]}-99") is not None
    (small / "filler").unlink()
    async with database.transaction() as session:
        session.add(an_artifact("after"))
    await database.close()
