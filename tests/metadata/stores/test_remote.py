"""The remote store against SeaweedFS: objects, trees, large files, names, wrong keys, a store that is away."""

import asyncio
import hashlib
import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

from ketch.metadata.objects import AccessDenied, KeyOutside, LocalObjectStore, StoreError, StoreUnreachable
from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.router import RoutedObjectStore
from ketch.metadata.stores.table import Connection, Kind, Place

MIB = 1024 * 1024


class Reachable(Protocol):
    """Where an S3 store answers."""

    @property
    def endpoint(self) -> str: ...


def store_of(at: Reachable, secret: str = SECRET_KEY, patience: float = 5) -> RemoteObjectStore:
    connection = Connection(kind=Kind.S3, endpoint=at.endpoint, path_style=True)
    credentials = {"access_key": ACCESS_KEY, "secret_key": secret}
    place = Place(scheme="s3", bucket="artifacts", connection=connection, credentials=credentials)
    return RemoteObjectStore((place,), timedelta(seconds=patience))


@pytest.fixture
def store(seaweed: Seaweed) -> RemoteObjectStore:
    return store_of(seaweed)


@pytest.fixture
def root() -> str:
    """A prefix of the test's own."""
    return f"s3://artifacts/{uuid4()}"


async def test_what_is_written_is_read_back_and_removed(store: RemoteObjectStore, root: str):
    uri = f"{root}/task/model"
    assert (await store.read(uri), await store.exists(uri), await store.exists(root)) == (None, False, False)
    await store.write(uri, b"weights")
    assert (await store.read(uri), await store.read(uri, 2), await store.read(uri, 99)) == (
        b"weights",
        b"we",
        b"weights",
    )
    assert await store.exists(uri)
    assert await store.exists(f"{root}/task")
    assert not await store.exists(f"{root}/ta")
    await store.write(uri, b"")
    assert await store.read(uri) == b""
    await store.remove(f"{root}/task")
    assert not await store.exists(root)
    await store.remove(uri)


@pytest.mark.parametrize(
    "name", ["naïve 模型.txt", "a b+c", "100%25", "q?x=1", "hash#tag", "til~de", "[x]{y}", "d/e/f"]
)
async def test_any_name_is_kept(store: RemoteObjectStore, root: str, name: str, tmp_path: Path):
    (tmp_path / "file").write_bytes(name.encode())
    await store.deliver(tmp_path / "file", f"{root}/tree", f"x/{name}")
    assert await store.fetch(f"{root}/tree", tmp_path / "back") == 1
    assert [
        str(path.relative_to(tmp_path / "back/x")) for path in (tmp_path / "back").rglob("*") if path.is_file()
    ] == [name]


async def test_a_tree_comes_back_as_it_was_and_a_missing_one_is_nothing(
    store: RemoteObjectStore, root: str, tmp_path: Path
):
    for name in ("a", "sub/b", "sub/deep/c"):
        await store.write(f"{root}/tree/{name}", name.encode())
    await store.write(f"{root}/tree-beside/x", b"not ours")
    assert await store.fetch(f"{root}/tree", tmp_path / "got") == 3
    assert {str(path.relative_to(tmp_path / "got")) for path in (tmp_path / "got").rglob("*") if path.is_file()} == {
        "a",
        "sub/b",
        "sub/deep/c",
    }
    assert await store.fetch(f"{root}/none", tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()


async def test_a_large_file_passes_in_pieces(store: RemoteObjectStore, root: str, tmp_path: Path):
    source, digest = tmp_path / "large", hashlib.sha256()
    with source.open("wb") as file:
        for number in range(200):
            piece = number.to_bytes(2, "big") * (MIB // 2)
            digest.update(piece)
            file.write(piece)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.deliver(source, f"{root}/large")
    assert await store.fetch(f"{root}/large", tmp_path / "back") == 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150 * 1024, f"{grown} KiB for 200 MiB"
    source.unlink()
    with (tmp_path / "back").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
    (tmp_path / "back").unlink()
    await store.remove(f"{root}/large")


async def test_wrong_credentials_are_told_as_such(seaweed: Seaweed, root: str, tmp_path: Path):
    stranger = store_of(seaweed, "wrong")
    for attempt in (
        stranger.read(f"{root}/x"),
        stranger.exists(f"{root}/x"),
        stranger.write(f"{root}/x", b""),
        stranger.fetch(f"{root}/x", tmp_path / "x"),
    ):
        with pytest.raises(AccessDenied, match=f"{root}/x: access denied"):
            await attempt


async def test_only_regular_files_leave(store: RemoteObjectStore, root: str, tmp_path: Path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("link", "."):
        with pytest.raises(OSError, match=r"symbolic|Too many levels|regular"):
            await store.deliver(tmp_path / name, f"{root}/x")


@dataclass
class Relay:
    """A way to the store that can be closed and opened, and that breaks off ``breaks`` connections once data flows."""

    port: int
    to: int
    breaks: int = 0
    server: asyncio.Server | None = None
    streams: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in self.streams:
            writer.transport.abort()
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_connection("127.0.0.1", self.to)
        self.streams |= {writer, outside}
        await asyncio.gather(self.pump(reader, outside), self.pump(inside, writer))

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(MIB):
                if len(data) > 1000 and self.breaks:
                    self.breaks -= 1
                    for each in self.streams:
                        each.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def relay(seaweed: Seaweed) -> AsyncIterator[Relay]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Relay(port, seaweed.ports[3])
    yield made
    if made.server is not None:
        await made.close()


async def test_a_store_that_is_away_for_a_moment_is_waited_for(relay: Relay, root: str):
    with pytest.raises(StoreUnreachable, match=f"{root}/x"):
        await store_of(relay, patience=0.2).read(f"{root}/x")
    patient = store_of(relay, patience=30)
    writing = asyncio.create_task(patient.write(f"{root}/y", b"meanwhile"))
    looking = asyncio.create_task(patient.exists(f"{root}/nothing"))
    await asyncio.wait({writing, looking}, timeout=0.5)
    assert not writing.done()
    assert not looking.done()
    await relay.open()
    await writing
    assert not await looking
    assert await patient.read(f"{root}/y") == b"meanwhile"


async def test_connections_that_break_off_lose_nothing(relay: Relay, root: str, tmp_path: Path):
    await relay.open()
    (tmp_path / "file").write_bytes(bytes(range(256)) * 4096 * 40)  # several parts
    store = store_of(relay, patience=30)
    relay.breaks = 3
    await store.deliver(tmp_path / "file", f"{root}/file")
    assert relay.breaks == 0
    relay.breaks = 1
    assert await store.fetch(f"{root}/file", tmp_path / "back") == 1
    assert relay.breaks == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


async def test_what_the_table_does_not_name_stays_here(seaweed: Seaweed, root: str, tmp_path: Path):
    remote = store_of(seaweed)
    routed = RoutedObjectStore(remote, LocalObjectStore(tmp_path))
    await routed.write("s3://elsewhere/x", b"here")
    await routed.write(f"{root}/x", b"there")
    assert (tmp_path / "elsewhere/x").read_bytes() == b"here"
    assert await remote.read(f"{root}/x") == b"there" == await routed.read(f"{root}/x")
    assert (routed.is_remote(root), routed.is_remote("s3://elsewhere/x")) == (True, False)
    assert await routed.exists(f"{root}/x")
    assert await routed.exists("s3://elsewhere/x")
    await routed.remove(f"{root}/x")
    assert not await routed.exists(f"{root}/x")
    for store in (remote, RoutedObjectStore(remote, None)):
        with pytest.raises(KeyOutside):
            await store.read("s3://elsewhere/x")


async def test_settings_that_cannot_be_used_are_named(tmp_path: Path):
    place = Place(scheme="gs", connection=Connection(kind=Kind.GCS), credentials={"token": "not json"})
    with pytest.raises(StoreError, match="gs store of bucket b cannot be set up"):
        await RemoteObjectStore((place,)).read("gs://b/x")
