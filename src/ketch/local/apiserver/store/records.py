"""What the store keeps: keys, versions of objects, and changes."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson


class StoreKey(NamedTuple):
    """Which object. ``resource`` is ``group/plural``; ``namespace`` is empty for cluster-scoped ones."""

    resource: str
    namespace: str
    name: str


NO_LABELS: Final[Mapping[str, str]] = {}
LARGE: Final = 2048
"""Bytes from which on an object is kept as bytes alone while nobody is busy with it: as values it takes five times
that."""


class Record:
    """One version of one object, made of its value or, as it comes from the log, of its bytes.

    The other is made on first use. Its ``value`` must never be changed.
    """

    __slots__ = ("_encoded", "_labels", "_value", "index", "keeps", "key", "revision")

    def __init__(
        self, key: StoreKey, value: dict[str, Any] | None, revision: int, encoded: bytes | None = None, index: str = ""
    ) -> None:
        self.key = key
        self.revision = revision
        self.index = index
        """What the object is found by besides its key; empty when by nothing."""
        self.keeps = True
        """Whether a value that had to be made stays."""
        self._value = value
        self._encoded = encoded
        self._labels: Mapping[str, str] | None = None

    @property
    def value(self) -> dict[str, Any]:
        """The object. Of one that rests each reader gets his own."""
        if self._value is not None:
            return self._value
        encoded = self.encoded
        value: dict[str, Any] = orjson.loads(encoded)
        if self.keeps and len(encoded) < LARGE:
            self._value = value
        return value

    @property
    def encoded(self) -> bytes:
        """The object as JSON."""
        if self._encoded is None:
            self._encoded = orjson.dumps(self._value)
        return self._encoded

    @property
    def labels(self) -> Mapping[str, str]:
        """The object's labels, which are at hand also while it rests."""
        if self._value is not None:
            return self._value["metadata"].get("labels") or NO_LABELS
        labels = self._labels
        if labels is None:
            labels = self._labels = self.value["metadata"].get("labels") or NO_LABELS
        return labels

    def rest(self, *, keeps: bool) -> None:
        """Keep no more than the bytes and the labels: of any object, or only of one that is large."""
        self.keeps = keeps
        # The encoder gives bytes with room for more behind them: a copy takes what it needs.
        self._encoded = bytes(memoryview(self.encoded))
        if self._value is not None and (not keeps or len(self._encoded) >= LARGE):
            self._labels, self._value = self._value.get("metadata", NO_LABELS).get("labels") or NO_LABELS, None


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

    def rest(self, *, keeps: bool) -> None:
        """Whoever watches has seen it: those who resume later may have frames made for them."""
        self.frames.clear()
        self.record.rest(keeps=keeps)


class WriteConflict(Exception):
    """The object is not at the version that the writer expected; ``current`` is what stands (None: absent)."""

    def __init__(self, current: Record | None) -> None:
        super().__init__("the object changed")
        self.current = current


class Expired(Exception):
    """The asked revision is older than what the store remembers."""


class StoreUnavailable(Exception):
    """The log cannot be written; nothing of the write happened. The message says why, ``full`` that the disk is."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class StoreCorrupt(Exception):
    """The file is not a database of this store, or is damaged; the message names it and says what to do."""
