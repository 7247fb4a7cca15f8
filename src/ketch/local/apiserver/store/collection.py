"""All committed objects of one resource: by namespace and name, in order, with recent history."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping

from ketch.local.apiserver.store.records import Change, Expired, Record, StoreKey

HISTORY = 2048
"""Changes remembered per resource, for watches that resume and lists that continue."""

NOBODY: Mapping[StoreKey, Record] = {}


class _Bucket:
    """One namespace's objects. The sorted names are made on demand and kept until a name comes or goes."""

    __slots__ = ("_sorted", "records")

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self._sorted: list[str] | None = None

    def put(self, record: Record) -> None:
        if record.key.name not in self.records:
            self._sorted = None
        self.records[record.key.name] = record

    def remove(self, name: str) -> None:
        if self.records.pop(name, None) is not None:
            self._sorted = None

    def names(self) -> list[str]:
        if self._sorted is None:
            self._sorted = sorted(self.records)
        return self._sorted


class Collection:
    """Reads cost what they return; a namespaced list never looks at other namespaces."""

    def __init__(self, compacted: int) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._indexed: dict[str, dict[StoreKey, Record]] = {}
        self._history: deque[Change] = deque()
        self._compacted = compacted
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def get(self, namespace: str, name: str) -> Record | None:
        """The object, or None."""
        bucket = self._buckets.get(namespace)
        return bucket.records.get(name) if bucket else None

    def load(self, record: Record) -> None:
        """Take an object from the log, without history."""
        self._put(record)

    def apply(self, change: Change) -> None:
        """Make a committed change visible and remember it."""
        key = change.record.key
        if change.previous is not None and change.previous.index:
            self._unindex(change.previous)
        if change.deleted:
            if bucket := self._buckets.get(key.namespace):
                self._size -= key.name in bucket.records
                bucket.remove(key.name)
                if not bucket.records:
                    del self._buckets[key.namespace]
        else:
            self._put(change.record)
        self._history.append(change)
        if len(self._history) > HISTORY:
            self._compacted = self._history.popleft().revision

    def _put(self, record: Record) -> None:
        bucket = self._buckets.get(record.key.namespace)
        if bucket is None:
            bucket = self._buckets[record.key.namespace] = _Bucket()
        self._size += record.key.name not in bucket.records
        bucket.put(record)
        if record.index:
            self._indexed.setdefault(record.index, {})[record.key] = record

    def _unindex(self, record: Record) -> None:
        found = self._indexed[record.index]
        del found[record.key]
        if not found:
            del self._indexed[record.index]

    def indexed(self, index: str, namespace: str | None, after: tuple[str, str] = ("", "")) -> Iterator[Record]:
        """As ``records``, of those that are found by ``index``; costs what it returns."""
        found = sorted(self._indexed.get(index, NOBODY).values(), key=lambda record: record.key)
        for record in found:
            key = record.key
            if namespace in (None, key.namespace) and (key.namespace, key.name) > after:
                yield record

    def records(self, namespace: str | None, after: tuple[str, str] = ("", "")) -> Iterator[Record]:
        """Objects in order of (namespace, name) behind ``after``; of all namespaces when ``namespace`` is None."""
        namespaces = sorted(self._buckets) if namespace is None else [namespace]
        for one in namespaces:
            bucket = self._buckets.get(one)
            if bucket is None or one < after[0]:
                continue
            names = bucket.names()
            begin = bisect_right(names, after[1]) if one == after[0] else 0
            for position in range(begin, len(names)):
                yield bucket.records[names[position]]

    def count(self, namespace: str | None) -> int:
        """How many objects there are."""
        if namespace is None:
            return self._size
        bucket = self._buckets.get(namespace)
        return len(bucket.records) if bucket else 0

    def count_after(self, namespace: str | None, after: tuple[str, str]) -> int:
        """How many objects ``records`` gives behind ``after``, without going through them."""
        buckets = [(name, bucket) for name, bucket in self._buckets.items() if namespace in (None, name)]
        behind = sum(len(bucket.records) for name, bucket in buckets if name > after[0])
        same = self._buckets.get(after[0]) if namespace in (None, after[0]) else None
        return behind + (len(same.records) - bisect_right(same.names(), after[1]) if same else 0)

    def changes_after(self, revision: int) -> list[Change]:
        """What happened after ``revision``, in order. Raises Expired."""
        if revision < self._compacted:
            raise Expired
        found: list[Change] = []
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            found.append(change)
        found.reverse()
        return found

    def undone_to(self, revision: int) -> Mapping[StoreKey, Record | None]:
        """What differs from now at ``revision``: the versions of then, None for what was absent. Raises Expired."""
        then: dict[StoreKey, Record | None] = {}
        for change in reversed(self.changes_after(revision)):
            then[change.record.key] = change.previous
        return then
