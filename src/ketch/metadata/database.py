"""The platform database: one engine, transactions, and the schema's version. Only here and in ``sqlite`` are its words.

SQLite runs with WAL and synchronous=FULL: a committed change survives power loss, because a step whose result was
acknowledged must never run twice. Writers queue on a lock of this process, not in SQLite's busy loop; readers never
wait. PostgreSQL needs none of this and gets plain transactions.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.util import await_only, greenlet_spawn

from ketch.metadata import files, sqlite
from ketch.metadata.tables import Base

SCHEMA_VERSION = "0002"
"""The newest revision in ``migrations/versions``."""

_BUSY_SECONDS = 30  # another process (a backup, a shell) may hold the file for a moment
_CONNECTIONS = 4
MEMORY = ":memory:"


T = TypeVar("T")


class DatabaseUnusable(Exception):
    """The database cannot be used: damaged, not reachable, or written by a newer Ketch. The message says which."""


class DatabaseFull(Exception):
    """A change was not made because the disk is full. The message says what to do."""


def _on_sqlite_connect(connection: Any, record: object) -> None:  # noqa: ARG001  # SQLAlchemy's signature
    # The driver must not open transactions by itself: BEGIN is sent by _on_sqlite_begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_SECONDS * 1000}", "cache_size=-16000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_sqlite_begin(connection: Any) -> None:
    driver = connection.connection.driver_connection
    if connection.get_execution_options().get("writing", False):
        sqlite.begin_writing(driver)
    else:
        driver.execute("BEGIN")


class Database:
    """The platform's one database. Rows come back as values: they stay readable after their session is closed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._file: Path | None = None
        options: dict[str, Any] = {"json_serializer": _dump_json, "json_deserializer": orjson.loads}
        place = make_url(url)
        if place.get_backend_name() == "sqlite":
            place = place.set(drivername=sqlite.NAME)
            self._file = Path(place.database) if place.database and place.database != MEMORY else None
        self._engine: AsyncEngine = create_async_engine(
            place,
            pool_size=_CONNECTIONS,
            pool_use_lifo=True,  # each connection has a cache of its own: one that is warm is enough
            **options,
        )
        self._writer: AbstractAsyncContextManager[Any] = nullcontext()
        if place.drivername == sqlite.NAME:
            event.listen(self._engine.sync_engine, "connect", _on_sqlite_connect)
            event.listen(self._engine.sync_engine, "begin", _on_sqlite_begin)
            self._writer = asyncio.Lock()
        self._writing = self._engine.execution_options(writing=True)

    async def open(self) -> None:
        """Bring the schema to this version. Every domain's ``tables`` module must have been imported.

        Raises DatabaseUnusable.
        """
        try:
            if self._file is not None:
                await self._open_file(self._file)
            await self._open()
        except DBAPIError as error:
            raise DatabaseUnusable(f"the platform database ({self.url}) cannot be used: {error.orig}") from error

    async def _open_file(self, path: Path) -> None:
        """Refuse a file that is torn; make one that is not there, in one step."""
        try:
            made = files.begin(path)
        except ValueError as error:
            raise DatabaseUnusable(str(error)) from error
        if made is None:
            return
        fresh = Database(f"{sqlite.NAME}:///{made}")
        await fresh._open()
        await fresh.close()
        made.rename(path)

    async def _open(self) -> None:
        async with self._writer, self._writing.begin() as connection:
            await connection.run_sync(_bring_up)

    async def close(self) -> None:
        """Give all connections back."""
        await self._engine.dispose()

    def session(self) -> AsyncSession:
        """For reading: one consistent view of the database until it is closed. Never writes."""
        return AsyncSession(self._engine, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """For writing: commits at the end of the block, rolls back when it raises. Keep it short; never await the
        world inside, other writers are waiting."""
        with self._told_when_full():
            async with self._writer, AsyncSession(self._writing, expire_on_commit=False) as session, session.begin():
                yield session

    @contextmanager
    def _told_when_full(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            if not files.is_full(error.orig):
                raise
            raise DatabaseFull(
                f"the disk is full: the platform database ({self.url}) cannot be written: "
                "make room on its file system, then try again"
            ) from error

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` asks in plain statements: as ``session`` without objects for rows, for what is asked often."""

        def run() -> T:
            with self._engine.sync_engine.connect() as connection:
                return work(connection)

        return await greenlet_spawn(run)

    async def change(self, work: Callable[[Connection], Iterator[None]]) -> None:
        """Write what ``work`` does in plain statements: as ``transaction`` without objects for rows, for what is
        written often. At each of its yields others on the loop have a turn."""

        def run() -> None:
            with self._writing.sync_engine.begin() as connection:
                for _ in work(connection):
                    await_only(asyncio.sleep(0))  # noqa: TID251  # a turn of the loop, no time

        with self._told_when_full():
            async with self._writer:
                await greenlet_spawn(run)


def _dump_json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _bring_up(connection: Connection) -> None:
    version = _version(connection)
    if version == SCHEMA_VERSION:
        return
    if version is None:
        Base.metadata.create_all(connection)
        _stamp(connection)
    else:
        _upgrade(connection, version)


def _version(connection: Connection) -> str | None:
    """The schema version of an existing database; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return str(row[0]) if row else None


def _stamp(connection: Connection) -> None:
    connection.execute(
        text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
             "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))")
    )  # fmt: skip
    connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": SCHEMA_VERSION})


def _upgrade(connection: Connection, version: str) -> None:
    # Alembic costs a start 0.3 s: it is imported when there is something to upgrade.
    from ketch.metadata.migrations.upgrade import revisions, upgrade  # noqa: PLC0415

    if version not in revisions():
        raise DatabaseUnusable(
            f"the database has schema version {version}, which this Ketch does not know: update Ketch"
        )
    upgrade(connection)
