"""A SQLite database as a file: made whole or not at all, and told from what is left of a torn one.

SQLite takes an empty file for the beginning of a database, and finds out only by and by that one was cut off.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

PAGE_SIZE, PAGES, VALID_FOR, CHANGES = slice(16, 18), slice(28, 32), slice(92, 96), slice(24, 28)
"""Where a database's head has the size of its pages, their number, and for which change that number holds."""

HEAD, MAGIC = 100, b"SQLite format 3\0"
LARGEST_PAGE = 1 << 16
ADVICE = "restore it from a copy, or move it away to begin anew"


def clear(path: Path) -> None:
    """Remove what an earlier process did not come to an end with."""
    for ending in ("", "-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)


def complaint(path: Path) -> str:
    """What is wrong with the database, which need not be there; empty when nothing is."""
    log = path.with_name(f"{path.name}-wal")
    logged = log.exists() and log.stat().st_size > 0
    if not path.exists():
        return f"{path} is missing, but {log} is there: restore both from a copy, or move both away" if logged else ""
    if path.stat().st_size == 0:
        return f"{path} is empty, all that it held is lost: {ADVICE}"
    if logged:  # what the file lacks may stand there
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return f"{path} is cut off, part of what it held is lost: {ADVICE}" if is_cut_off(path) else ""


def is_cut_off(path: Path) -> bool:
    """Whether the file is shorter than it says itself."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        length = os.fstat(file.fileno()).st_size
    if not head.startswith(MAGIC):
        return MAGIC.startswith(head)  # else it is something else
    if len(head) < HEAD:
        return True
    size = int.from_bytes(head[PAGE_SIZE], "big")
    pages = int.from_bytes(head[PAGES], "big")
    return head[VALID_FOR] == head[CHANGES] and length < pages * (LARGEST_PAGE if size == 1 else size)


def begin(path: Path) -> Path | None:
    """Where to make the database before it is put in place; None when it is there. Raises ValueError: what is wrong."""
    if wrong := complaint(path):
        raise ValueError(wrong)
    if path.exists():
        return None
    made = path.with_name(f"{path.name}.new")
    clear(made)
    return made


def is_full(error: object) -> bool:
    """Whether a statement failed because the disk is full."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
