"""The local object store: whole objects, and nothing outside of its root."""

import os
import socket
from pathlib import Path

import pytest

from ketch.metadata.objects import KeyOutside, LocalObjectStore, key_of


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


async def test_what_is_written_is_read_back_and_removed(store: LocalObjectStore):
    uri = "minio://mlpipeline/v2/artifacts/p/r/t/model"
    assert (await store.read(uri), await store.exists(uri)) == (None, False)
    await store.write(uri, b"weights")
    assert (await store.read(uri), await store.read(uri, 2)) == (b"weights", b"we")
    assert await store.exists("minio://mlpipeline/v2/artifacts/p")
    await store.remove("minio://mlpipeline/v2")
    assert not await store.exists(uri)
    await store.remove(uri)


def test_every_scheme_has_the_same_keys():
    assert {key_of(f"{scheme}://b/k/x?region=1") for scheme in ("minio", "s3", "gs")} == {"b/k/x"}


@pytest.mark.parametrize(
    "uri",
    [
        "minio://",
        "minio://b/../../etc/passwd",
        "minio://b//x",
        "minio://b/./x",
        "s3://b/\0",
        "http://b/x",
        "/etc/passwd",
    ],
)
async def test_uris_that_name_no_place_in_the_store(store: LocalObjectStore, uri: str):
    with pytest.raises(KeyOutside):
        await store.read(uri)


async def test_a_link_does_not_lead_out(store: LocalObjectStore, tmp_path: Path):
    (tmp_path / "secret").write_text("x")
    (store.root / "b").mkdir(parents=True)
    (store.root / "b" / "link").symlink_to(tmp_path)
    with pytest.raises(KeyOutside):
        await store.read("minio://b/link/secret")


async def test_what_is_no_file_is_no_object_and_holds_nobody_up(store: LocalObjectStore):
    place = store.root / "b"
    place.mkdir(parents=True)
    os.mkfifo(place / "pipe")
    (place / "folder").mkdir()
    (place / "file").write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place / "socket"))
        for name in ("pipe", "folder", "socket", "file/below", "nothing"):
            assert await store.read(f"minio://b/{name}") is None


async def test_links_are_refused_wherever_they_lead(store: LocalObjectStore):
    place = store.root / "b"
    place.mkdir(parents=True)
    (place / "file").write_bytes(b"x")
    for name, target in (("same", "file"), ("nowhere", "gone")):
        (place / name).symlink_to(target)
        with pytest.raises(KeyOutside):
            await store.read(f"minio://b/{name}")
    (place / "loop").symlink_to("loop")
    assert await store.read("minio://b/loop") is None
