"""SQLite on the loop: what waits for the disk, or for another process, does not stop it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.metadata.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE numbers (number INTEGER)"))
    yield database
    await database.close()


async def numbers(database: Database) -> list[int]:
    async with database.session() as session:
        return list(await session.scalars(text("SELECT number FROM numbers ORDER BY number")))


async def insert(session: AsyncSession, number: int) -> None:
    await session.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})


async def test_a_write_waits_for_another_process_beside_the_loop(database: Database, tmp_path: Path):
    other = sqlite3.connect(tmp_path / "platform.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with database.transaction() as session:
            await insert(session, 1)

    writing = asyncio.create_task(write())
    for _ in range(50):  # turns of a loop that stood still would not come
        await SYSTEM_CLOCK.sleep(0.001)
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    await asyncio.wait_for(writing, 20)
    assert await numbers(database) == [1]


async def test_a_commit_that_was_cancelled_is_whole(database: Database):
    """Who is cancelled while its transaction goes to the disk gives the connection back when it is there."""

    async def write(number: int) -> None:
        async with database.transaction() as session:
            await insert(session, number)

    for number in range(20):
        writing = asyncio.create_task(write(number))
        for _ in range(number % 7):
            await SYSTEM_CLOCK.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await write(100 + number)
    assert set(range(100, 120)) <= set(await numbers(database))


async def test_a_statement_that_fails_leaves_nothing(database: Database):
    async def write() -> None:
        async with database.transaction() as session:
            await insert(session, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write()
    assert await numbers(database) == []


async def test_slow_statements_run_beside_the_loop(database: Database):
    count = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"
    )
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await SYSTEM_CLOCK.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    async with database.session() as session:
        assert await session.scalar(count, execution_options={"slow": True}) == 300000
    turning.cancel()
    assert turns > 1
