"""RoutedObjectStore: what a table names lies in remote stores, all else in the store that is here."""

from ketch.metadata.objects import KeyOutside, ObjectStore
from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.table import place_of


class RoutedObjectStore:
    """One ObjectStore of several. Without a store ``here``, URIs that the table does not name raise KeyOutside."""

    def __init__(self, remote: RemoteObjectStore, here: ObjectStore | None) -> None:
        self.remote, self.here = remote, here

    def is_remote(self, uri: str) -> bool:
        """Whether the URI's data is elsewhere: what is here can be bound into sandboxes, the rest is copied."""
        return place_of(self.remote.table, uri) is not None

    def at(self, uri: str) -> ObjectStore:
        """The store of the URI. Raises KeyOutside."""
        if self.is_remote(uri):
            return self.remote
        if self.here is None:
            raise KeyOutside(f"{uri!r} is in no object store that is configured")
        return self.here

    async def exists(self, uri: str) -> bool:
        """As the URI's store says."""
        return await self.at(uri).exists(uri)

    async def read(self, uri: str, limit: int = -1) -> bytes | None:
        """As the URI's store says."""
        return await self.at(uri).read(uri, limit)

    async def write(self, uri: str, content: bytes) -> None:
        """As the URI's store does."""
        await self.at(uri).write(uri, content)

    async def remove(self, uri: str) -> None:
        """As the URI's store does."""
        await self.at(uri).remove(uri)
