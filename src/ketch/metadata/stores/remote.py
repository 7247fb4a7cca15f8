"""RemoteObjectStore: the places of a table as one ObjectStore, and whole files and trees to and from it."""

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import obstore

from ketch.metadata.objects import KeyOutside, StoreError
from ketch.metadata.stores.connecting import Bucket, address, open_bucket, translated
from ketch.metadata.stores.table import Place, Table, place_of, split

PATIENCE: Final = timedelta(seconds=10)
"""How long one request is tried again when nobody says otherwise."""

_CHUNK: Final = 8 * 1024 * 1024
_PARTS: Final = 9000  # S3 takes no more than 10,000 of one object
_AT_ONCE: Final = 4  # parts of one upload in memory
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RemoteObjectStore:
    """Artifacts in the buckets of ``table``. Content of any size passes in pieces.

    ``environment`` tells of a proxy: an endpoint on the loopback address is reached through it where there is one,
    because a network of one's own has another loopback than the machine that the endpoint means.
    """

    def __init__(
        self, table: Table, patience: timedelta = PATIENCE, environment: Mapping[str, str] | None = None
    ) -> None:
        self.table = table
        self._patience = patience
        self._proxy = (environment or {}).get("HTTP_PROXY", "")
        self._buckets: dict[tuple[int, str], Bucket] = {}

    async def exists(self, uri: str) -> bool:
        """An object, or anything below it."""
        bucket, key = self._open(uri)
        with translated("looking for", uri):
            if key:
                with suppress(FileNotFoundError):
                    await obstore.head_async(bucket, key)
                    return True
            async for _ in self._below(bucket, key):
                return True
        return False

    async def read(self, uri: str, limit: int = -1) -> bytes | None:
        """The object's content."""
        bucket, key = self._open(uri)
        content = bytearray()
        with translated("reading", uri):
            try:
                answer = await obstore.get_async(bucket, key)
            except FileNotFoundError:
                return None
            async for piece in answer.stream(_CHUNK):
                content += piece
                if 0 <= limit <= len(content):
                    break
        return bytes(content if limit < 0 else content[:limit])

    async def write(self, uri: str, content: bytes) -> None:
        """Stores show an object once it is whole."""
        bucket, key = self._open(uri)
        with translated("writing", uri):
            await self._put(bucket, key, content, uri)

    async def remove(self, uri: str) -> None:
        """The object, and all below it."""
        bucket, key = self._open(uri)
        with translated("removing", uri):
            keys = [key] if key else []
            keys += [each async for each, _ in self._below(bucket, key)]
            for each in keys:
                try:
                    await obstore.delete_async(bucket, each)
                except FileNotFoundError:
                    continue

    async def fetch(self, uri: str, path: Path, skips: Callable[[str], bool] = lambda _: False) -> int:
        """Copy the object to ``path``, or the tree below it into ``path``; how many files came.

        ``skips`` says of a path below ``uri`` that it is not wanted.
        """
        bucket, key = self._open(uri)
        with translated("fetching", uri):
            if key:
                with suppress(FileNotFoundError):
                    await self._get(bucket, key, path)
                    return 1
            count = 0
            async for each, size in self._below(bucket, key):
                relative = each[len(key) :].strip("/")
                if not relative or any(part in ("", ".", "..") for part in relative.split("/")) or skips(relative):
                    continue
                try:
                    await self._get(bucket, each, path / relative)
                    count += 1
                except FileNotFoundError:
                    if size:
                        raise StoreError(f"fetching {uri}: {relative} went away meanwhile") from None
                    (path / relative).mkdir(parents=True, exist_ok=True)  # how consoles mark a folder
            return count

    async def deliver(self, path: Path, uri: str, below: str = "") -> None:
        """Copy one regular file to the store: to ``uri``, or to ``below`` it, a name taken as it is."""
        bucket, key = self._open(uri)
        if below:
            uri, key = f"{uri}/{below}", f"{key}/{below}" if key else below
        with translated("uploading to", uri), open(path, "rb", opener=regular) as file:  # noqa: ASYNC230  # pathlib takes no opener
            size = os.fstat(file.fileno()).st_size
            if size <= _CHUNK:
                await self._put(bucket, key, file.read(), uri)
                return
            chunk = max(_CHUNK, -(-size // _PARTS))
            await obstore.put_async(bucket, key, file, chunk_size=chunk, max_concurrency=_AT_ONCE)

    async def _put(self, bucket: Bucket, key: str, content: bytes, uri: str) -> None:
        try:
            await obstore.put_async(bucket, key, content, use_multipart=False)
        except FileNotFoundError as error:
            raise StoreError(f"writing {uri}: there is no bucket of that name") from error

    async def _get(self, bucket: Bucket, key: str, path: Path) -> None:
        answer = await obstore.get_async(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{secrets.token_hex(8)}.partial")  # others may fetch the same to a shared place
        try:
            with partial.open("wb") as file:
                async for piece in answer.stream(_CHUNK):
                    await asyncio.to_thread(file.write, piece)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    async def _below(self, bucket: Bucket, key: str) -> AsyncIterator[tuple[str, int]]:
        async for batch in obstore.list(bucket, f"{key}/" if key else None, chunk_size=1000):  # pyright: ignore[reportUnknownMemberType]  # one overload is of a library that is not here
            for each in batch:
                yield each["path"], each["size"]

    def _open(self, uri: str) -> tuple[Bucket, str]:
        place = place_of(self.table, uri)
        if place is None:
            raise KeyOutside(f"{uri!r} is in no object store that is configured")
        _, bucket, key = split(uri)
        opened = self._buckets.get((id(place), bucket))
        if opened is None:
            opened = self._buckets[id(place), bucket] = open_bucket(
                place, bucket, self._patience, self._proxy_to(place)
            )
        return opened, key

    def _proxy_to(self, place: Place) -> str:
        connection = place.connection
        host = urlsplit(address(connection)).hostname if connection.endpoint else None
        return self._proxy if host in _LOOPBACK else ""


def regular(path: str, flags: int) -> int:
    """An opener of regular files alone, which follows no link."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return descriptor
