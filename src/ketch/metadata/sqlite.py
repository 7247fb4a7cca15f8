"""SQLite without a thread per connection: statements run where they are asked for, what waits for the disk does not.

A statement of the platform database takes some microseconds; to hand each to a thread and back takes ten times that,
and several make one transaction. So they run on the loop. A commit waits for the disk, and the beginning of a write may
wait for another process: these two, and statements that say so (``execution_options(slow=True)``), go to a thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool
from sqlalchemy.util import await_only

NAME = "sqlite+loop"
"""The dialect's name in a database URL."""

T = TypeVar("T")


def _beside(work: Callable[..., T], *arguments: Any) -> T:
    """Do ``work`` in a thread while the loop goes on. Once begun it is done to its end, also for who was cancelled:
    the connection must not be used by two."""

    async def done() -> T:
        running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    return await_only(done())


class _Cursor(sqlite3.Cursor):
    async def _async_soft_close(self) -> None:
        """SQLAlchemy's word to cursors that read in a thread: their rows are to come now. Here they come when asked."""


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


class LoopDialect(SQLiteDialect_pysqlite):
    """SQLAlchemy's SQLite for asyncio, over the standard library's own driver."""

    driver = "loop"
    is_async = True
    supports_statement_cache = True

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:  # noqa: ARG003  # SQLAlchemy's signature
        """Connections wait for each other as tasks do."""
        return AsyncAdaptedQueuePool

    def create_connect_args(self, url: URL) -> Any:
        """As for any SQLite, but a connection's thread may change: it is used by one task at a time."""
        arguments, options = super().create_connect_args(url)
        return arguments, {**options, "check_same_thread": False, "factory": _Connection}

    def get_driver_connection(self, connection: Any) -> Any:
        """The driver's connection is the connection."""
        return connection

    def do_commit(self, dbapi_connection: Any) -> None:
        """Returns once the transaction is on disk."""
        if dbapi_connection.in_transaction:
            _beside(dbapi_connection.commit)

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """On the loop, or beside it for what says that it is slow."""
        if context is not None and context.execution_options.get("slow"):
            _beside(cursor.execute, statement, parameters)
        else:
            cursor.execute(statement, parameters)


def begin_writing(connection: sqlite3.Connection) -> None:
    """Take SQLite's write lock: at once if nobody has it, else in a thread that waits."""
    timeout = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute("PRAGMA busy_timeout=0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        connection.execute(f"PRAGMA busy_timeout={timeout}")
        _beside(connection.execute, "BEGIN IMMEDIATE")
    else:
        connection.execute(f"PRAGMA busy_timeout={timeout}")


registry.register("sqlite.loop", __name__, "LoopDialect")
