"""The platform database: new, old, damaged; transactions whole or not at all."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine

import ketch.pipelines.records.tables
from ketch.metadata.database import SCHEMA_VERSION, Database, DatabaseUnusable
from ketch.metadata.migrations.upgrade import newest, upgrade
from ketch.metadata.tables import Artifact, Base

assert ketch.pipelines.records.tables  # its tables belong to the schema

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(url(tmp_path / "platform.db"))
    await database.open()
    yield database
    await database.close()


def an_artifact(name: str) -> Artifact:
    return Artifact(
        id=name, namespace="", type="system.Model", name=name, uri=f"minio://b/{name}", properties={}, created_at=NOW
    )


def schema_of(engine: Engine) -> object:
    inspector = inspect(engine)
    return {
        table: (
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)),
            inspector.get_pk_constraint(table),
            sorted((i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes(table)),
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_upgrading_from_nothing_gives_what_the_tables_say():
    upgraded, created = create_engine("sqlite://"), create_engine("sqlite://")
    with upgraded.begin() as connection:
        upgrade(connection)
        by_revisions = schema_of(connection)
    with created.begin() as connection:
        Base.metadata.create_all(connection)
        by_tables = schema_of(connection)
    upgraded.dispose()
    created.dispose()
    assert by_revisions == by_tables


def test_the_version_written_into_a_new_database_is_the_newest_revision():
    assert newest() == SCHEMA_VERSION


async def test_a_database_is_opened_again_with_what_it_held(tmp_path: Path):
    for _ in range(2):
        database = Database(url(tmp_path / "platform.db"))
        await database.open()
        async with database.session() as session:
            held = await session.get(Artifact, "a")
        if held is None:
            async with database.transaction() as session:
                session.add(an_artifact("a"))
        await database.close()
    assert held is not None
    assert (held.created_at, held.type) == (NOW, "system.Model")


async def test_a_database_of_a_newer_ketch_is_refused(tmp_path: Path):
    database = Database(url(tmp_path / "platform.db"))
    await database.open()
    await database.close()
    with sqlite3.connect(tmp_path / "platform.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    database = Database(url(tmp_path / "platform.db"))
    with pytest.raises(DatabaseUnusable, match=r"9999.*update Ketch"):
        await database.open()
    await database.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    (tmp_path / "platform.db").write_bytes(b"not a database" * 100)
    database = Database(url(tmp_path / "platform.db"))
    with pytest.raises(DatabaseUnusable, match="not a database"):
        await database.open()
    await database.close()


async def test_a_transaction_that_raises_leaves_nothing(database: Database):
    async def fail() -> None:
        async with database.transaction() as session:
            session.add(an_artifact("a"))
            await session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.session() as session:
        assert await session.get(Artifact, "a") is None


async def test_writers_take_turns(database: Database):
    async with database.transaction() as session:
        session.add(an_artifact("counter"))

    async def count() -> None:
        async with database.transaction() as session:
            row = await session.get(Artifact, "counter")
            assert row is not None
            row.properties = {"n": row.properties.get("n", 0) + 1}

    await asyncio.gather(*(count() for _ in range(20)))
    async with database.session() as session:
        row = await session.get(Artifact, "counter")
    assert row is not None
    assert row.properties == {"n": 20}


async def test_commits_are_durable_and_readers_do_not_wait(database: Database):
    async with database.session() as session:
        values = [await session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")]
    assert values == ["wal", 2]
