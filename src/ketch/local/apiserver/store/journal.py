"""The durable log: one SQLite table, written by one thread, many writes to a transaction.

Group commit: while a transaction is on its way to the disk, arriving writes queue; the next transaction takes them
all. WAL with synchronous=FULL: when ``commit`` returned, the writes survive kill -9 and power loss.
"""

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


class LogEntry(NamedTuple):
    """One write for the log; ``value`` None deletes."""

    key: StoreKey
    revision: int
    value: bytes | None


class Batch(NamedTuple):
    """Writes that must reach the disk together, and who to tell (called on the writer's thread)."""

    entries: Sequence[LogEntry]
    done: Callable[[StoreUnavailable | None], None]


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if owner == 0 and version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        elif owner != APPLICATION_ID:
            raise StoreCorrupt(f"{path} is not a Ketch database: move it away, or choose another data directory")
        elif version != SCHEMA_VERSION:
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
        self._thread = threading.Thread(target=self._write, name="store-journal", daemon=True)

    def start(self) -> None:
        """Begin to take writes; before this, read."""
        self._thread.start()

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
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(UPSERT, written)
            self._connection.executemany(DELETE, deleted)
            self._connection.execute("UPDATE revision SET current = ?", (entries[-1].revision,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return StoreUnavailable(f"cannot write {self._path}: {error}")
        return None
