"""The durable log: one SQLite table, written by one thread, many writes to a transaction.

Group commit: while a transaction is on its way to the disk, arriving writes queue; the next transaction takes them
all. WAL with synchronous=FULL: when ``commit`` returned, the writes survive kill -9 and power loss.
"""

import contextlib
import ctypes
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ketch.local.apiserver.store.records import StoreCorrupt, StoreKey, StoreUnavailable

APPLICATION_ID = 0x6B657463  # "ketc": SQLite's field for telling whose file this is
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE revision (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), current INTEGER NOT NULL);
INSERT INTO revision VALUES (1, 1);
"""
UPSERT = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)"
DELETE = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
CLOSE = object()

RESERVE, RESERVED_AGAIN = 2 << 20, 512
"""Bytes that the disk gives in advance to the database and to its write-ahead log, and after how many transactions this
is seen to again. What changes or deletes objects needs no more, so a full disk can be told of, and cleared up."""

LEAST_ROOM = 1 << 20
"""Bytes that must be left on the disk for a new object."""

KEEP_SIZE = 1
_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class LogEntry(NamedTuple):
    """One write for the log; ``value`` None deletes."""

    key: StoreKey
    revision: int
    value: bytes | None


class Batch(NamedTuple):
    """Writes that must reach the disk together, and who to tell (called on the writer's thread)."""

    entries: Sequence[LogEntry]
    done: Callable[[StoreUnavailable | None], None]


def _make(path: Path) -> None:
    """An empty log at ``path``, whole or not at all: what is there and empty has been cut off."""
    partial = path.with_name(f"{path.name}.new")
    for each in (partial, partial.with_name(f"{partial.name}-journal")):
        each.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as connection:
        connection.executescript(
            f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    partial.rename(path)


def _check(path: Path) -> None:
    """Raises StoreCorrupt for what SQLite would take for the beginning of a database, or the end of another one."""
    log = path.with_name(f"{path.name}-wal")
    if not path.exists():
        if log.exists() and log.stat().st_size:
            raise StoreCorrupt(f"{path} is missing, but {log} is there: restore both from a copy, or move both away")
    elif not path.stat().st_size:
        raise StoreCorrupt(
            f"{path} is empty, all that it held is lost: restore it from a copy, or move it away to begin anew"
        )


def _open(path: Path) -> sqlite3.Connection:
    _check(path)
    try:
        if not path.exists():
            _make(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreCorrupt(f"{path} cannot be made or opened: {error}") from error
    try:
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if owner != APPLICATION_ID:
            raise StoreCorrupt(f"{path} is not a Ketch database: move it away, or choose another data directory")
        if version != SCHEMA_VERSION:
            raise StoreCorrupt(
                f"{path} was written by another version of Ketch (schema {version}, this one reads {SCHEMA_VERSION})"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreCorrupt(
            f"{path} cannot be read as a database ({error}): restore it from a copy, or move it away"
        ) from error
    except StoreCorrupt:
        connection.close()
        raise
    return connection


class Journal:
    """The log in ``path`` (created when absent). Raises StoreCorrupt."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _open(path)
        self._queue: queue.SimpleQueue[Batch | object] = queue.SimpleQueue()
        self._failure: StoreUnavailable | None = None
        self._transactions = 0
        self._thread = threading.Thread(target=self._write, name="store-journal", daemon=True)

    def start(self) -> None:
        """Begin to take writes; before this, read."""
        self._take_reserve()
        self._thread.start()

    def _take_reserve(self) -> None:
        """Have the disk give room now. Where it has none, or no such call, it is found when it is needed."""
        with contextlib.suppress(OSError):
            for path, size in ((f"{self._path}-wal", 0), (str(self._path), self._path.stat().st_size)):
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    _fallocate(descriptor, KEEP_SIZE, 0, size + RESERVE)
                finally:
                    os.close(descriptor)

    def revision(self) -> int:
        """The newest revision on disk."""
        try:
            return int(self._connection.execute("SELECT current FROM revision").fetchone()[0])
        except (sqlite3.DatabaseError, TypeError) as error:
            raise StoreCorrupt(f"{self._path} is damaged ({error}): restore it from a copy, or move it away") from error

    def objects(self) -> Iterator[tuple[StoreKey, int, bytes]]:
        """Every object on disk with its revision."""
        try:
            for resource, namespace, name, revision, value in self._connection.execute("SELECT * FROM objects"):
                if value[:1] != b"{" or value[-1:] != b"}":
                    raise StoreCorrupt(
                        f"{self._path} is damaged ({resource} {namespace}/{name} is no object): "
                        "restore it from a copy, or move it away"
                    )
                yield StoreKey(resource, namespace, name), revision, value
        except sqlite3.DatabaseError as error:
            raise StoreCorrupt(f"{self._path} is damaged ({error}): restore it from a copy, or move it away") from error

    def submit(self, batch: Batch) -> None:
        """Queue a batch; its ``done`` is called once it is on disk, or with the reason why it is not."""
        self._queue.put(batch)

    def recover(self) -> None:
        """Try again after a failure. The caller has dropped everything that stood on the failed writes."""
        self._failure = None

    def close(self) -> None:
        """Write what is queued, then close."""
        if self._thread.is_alive():
            self._queue.put(CLOSE)
            self._thread.join()
        self._connection.close()

    def _write(self) -> None:
        closing = False
        while not closing:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            closing = CLOSE in waiting
            batches = [item for item in waiting if isinstance(item, Batch)]
            if not batches:
                continue
            # Until ``recover`` nothing more is written: what queued meanwhile stands on writes that never were.
            if self._failure is None:
                self._failure = self._commit([entry for batch in batches for entry in batch.entries])
            failure = self._failure
            for batch in batches:
                batch.done(failure)

    def _commit(self, entries: Sequence[LogEntry]) -> StoreUnavailable | None:
        # Only the last version of each object matters for the table; revisions grow along the list.
        newest = {entry.key: entry for entry in entries}
        written = [(*entry.key, entry.revision, entry.value) for entry in newest.values() if entry.value is not None]
        deleted = [entry.key for entry in newest.values() if entry.value is None]
        try:
            self._transact(written, deleted, entries[-1].revision)
        except sqlite3.Error as error:
            if not _is_full(error):
                return StoreUnavailable(f"cannot write {self._path}: {error}")
        else:
            return None
        try:  # the log may be written again from its beginning, where it has room already
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            self._transact(written, deleted, entries[-1].revision)
        except sqlite3.Error as error:
            return self._full(str(error))
        return None

    def check_room(self) -> None:
        """Raises StoreUnavailable where the disk has no room for more: the reserve is for other writes."""
        try:
            disk = os.statvfs(self._path)
        except OSError:
            return  # the write itself finds out
        if disk.f_bavail * disk.f_frsize < LEAST_ROOM:
            raise self._full("there is no room for more objects")

    def _full(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"the disk is full: {self._path} cannot be written ({why}): make room on its file system, "
            "or delete what is not needed",
            full=True,
        )

    def _transact(
        self, written: Sequence[tuple[str | int | bytes, ...]], deleted: Sequence[StoreKey], revision: int
    ) -> None:
        """All of it or, with sqlite3.Error, nothing."""
        self._transactions += 1
        if self._transactions % RESERVED_AGAIN == 0:
            self._take_reserve()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(UPSERT, written)
            self._connection.executemany(DELETE, deleted)
            self._connection.execute("UPDATE revision SET current = ?", (revision,))
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _is_full(error: sqlite3.Error) -> bool:
    """Whether room is what lacks."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
