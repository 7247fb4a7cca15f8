"""Objects of a store as those see them that only look."""

from collections.abc import Mapping, Sequence
from typing import Any

from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store


class View:
    """Values instead of records; nobody may change them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def committed(self, storage: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """An object as it is on disk."""
        record = self._store.get(StoreKey(storage, namespace, name))
        return record.value if record else None

    def newest(self, storage: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """An object as the next writer must see it."""
        record = self._store.newest(StoreKey(storage, namespace, name))
        return record.value if record else None

    def listing(self, storage: str, namespace: str | None) -> Sequence[Mapping[str, Any]]:
        """The objects of a kind that are on disk, of one namespace or of all."""
        return [record.value for record in self._store.list(storage, namespace)]
