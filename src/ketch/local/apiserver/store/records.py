"""What the store keeps: keys, versions of objects, and changes."""

from typing import Any, NamedTuple

import orjson


class StoreKey(NamedTuple):
    """Which object. ``resource`` is ``group/plural``; ``namespace`` is empty for cluster-scoped ones."""

    resource: str
    namespace: str
    name: str


class Record:
    """One version of one object. ``value`` must never be changed; its bytes are made once, on first use."""

    __slots__ = ("_encoded", "key", "revision", "value")

    def __init__(self, key: StoreKey, value: dict[str, Any], revision: int, encoded: bytes | None = None) -> None:
        self.key = key
        self.value = value
        self.revision = revision
        self._encoded = encoded

    @property
    def encoded(self) -> bytes:
        """The object as JSON."""
        if self._encoded is None:
            self._encoded = orjson.dumps(self.value)
        return self._encoded


class Change:
    """One committed write: ``record`` is the new version (for a deletion: the last one, with the deletion's revision).

    ``previous`` is the version before, None for a creation. Watch frames of this change are kept here, so that a
    thousand watchers cost one encoding.
    """

    __slots__ = ("deleted", "frames", "previous", "record")

    def __init__(self, record: Record, previous: Record | None, *, deleted: bool) -> None:
        self.record = record
        self.previous = previous
        self.deleted = deleted
        self.frames: dict[str, bytes] = {}

    @property
    def revision(self) -> int:
        """The revision that this write made."""
        return self.record.revision


class WriteConflict(Exception):
    """The object is not at the version that the writer expected; ``current`` is what stands (None: absent)."""

    def __init__(self, current: Record | None) -> None:
        super().__init__("the object changed")
        self.current = current


class Expired(Exception):
    """The asked revision is older than what the store remembers."""


class StoreUnavailable(Exception):
    """The log cannot be written (disk full, I/O error); nothing of the write happened. The message says why."""


class StoreCorrupt(Exception):
    """The file is not a database of this store, or is damaged; the message names it and says what to do."""
