"""Sources of datasets and models: a real S3 store, real files, and a web server that answers as the hub does."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote
from uuid import uuid4

import pytest
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.table import Connection, Kind, Place
from ketch.training.initializers.sources import SourceFailed, bring

TOKEN = "Bearer secret"


class Hub(BaseHTTPRequestHandler):
    """One dataset and one model, which needs a token; the dataset is listed in two pages."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {
        "/datasets/owner/data/resolve/main/data/train one.csv": b"a,b\n1,2\n",
        "/datasets/owner/data/resolve/main/README.md": b"# data\n",
        "/owner/model/resolve/main/config.json": b"{}",
        "/plain/weights.bin": b"w" * 100_000,
    }
    pages: ClassVar[dict[str, tuple[list[dict[str, Any]], str]]] = {
        "/api/datasets/owner/data/tree/main?recursive=true": (
            [{"type": "directory", "path": "data"}, {"type": "file", "path": "data/train one.csv"}],
            "/api/datasets/owner/data/tree/main?page=2",
        ),
        "/api/datasets/owner/data/tree/main?page=2": ([{"type": "file", "path": "README.md"}], ""),
        "/api/models/owner/model/tree/main?recursive=true": ([{"type": "file", "path": "config.json"}], ""),
    }

    def do_GET(self) -> None:
        if "model" in self.path and self.headers.get("Authorization") != TOKEN:
            self._answer(401, b"")
        elif self.path in self.pages:
            entries, following = self.pages[self.path]
            host = f"http://127.0.0.1:{self.server.server_address[1]}"
            self._answer(200, json.dumps(entries).encode(), f'<{host}{following}>; rel="next"' if following else "")
        elif (content := self.files.get(unquote(self.path))) is not None:
            self._answer(200, content)
        else:
            self._answer(404, b"")

    def _answer(self, code: int, content: bytes, link: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        if link:
            self.send_header("Link", link)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base class calls it
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def test_a_dataset_comes_from_the_hub_as_it_lies_there(hub: str, tmp_path: Path):
    assert await bring("hf://owner/data", tmp_path, "dataset", {"HF_ENDPOINT": hub}) == 2
    assert names(tmp_path) == ["README.md", "data/train one.csv"]
    assert (tmp_path / "data/train one.csv").read_bytes() == b"a,b\n1,2\n"


async def test_part_of_it_without_what_is_ignored(hub: str, tmp_path: Path):
    environment = {"HF_ENDPOINT": hub, "IGNORE_PATTERNS": "*.md, *.bin"}
    await bring("hf://owner/data", tmp_path / "a", "dataset", environment)
    await bring("hf://owner/data/data", tmp_path / "b", "dataset", {"HF_ENDPOINT": hub})
    assert names(tmp_path / "a") == names(tmp_path / "b") == ["data/train one.csv"]


async def test_a_model_that_needs_a_token(hub: str, tmp_path: Path):
    with pytest.raises(SourceFailed, match=r"answers 401 .*is ACCESS_TOKEN set"):
        await bring("hf://owner/model", tmp_path, "model", {"HF_ENDPOINT": hub})
    environment = {"HF_ENDPOINT": hub, "ACCESS_TOKEN": "secret"}
    assert await bring("hf://owner/model", tmp_path, "model", environment) == 1
    assert names(tmp_path) == ["config.json"]


async def test_a_file_comes_from_the_web_whole(hub: str, tmp_path: Path):
    assert await bring(f"{hub}/plain/weights.bin", tmp_path, "model", {}) == 1
    assert (tmp_path / "weights.bin").read_bytes() == b"w" * 100_000


async def test_files_of_a_mounted_volume(tmp_path: Path):
    (tmp_path / "from/deep").mkdir(parents=True)
    for name in ("one.csv", "deep/two.csv", "deep/two.tmp"):
        (tmp_path / "from" / name).write_text(name)
    uri = f"file://{tmp_path}/from"
    assert await bring(uri, tmp_path / "all", "dataset", {"IGNORE_PATTERNS": "*.tmp"}) == 2
    assert names(tmp_path / "all") == ["deep/two.csv", "one.csv"]
    assert await bring(f"{uri}/one.csv", tmp_path / "one", "dataset", {}) == 1
    assert names(tmp_path / "one") == ["one.csv"]


async def test_objects_come_from_s3(seaweed: Seaweed, tmp_path: Path):
    root = f"s3://artifacts/{uuid4()}"
    connection = Connection(kind=Kind.S3, endpoint=seaweed.endpoint, path_style=True)
    credentials = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    store = RemoteObjectStore((Place(scheme="s3", connection=connection, credentials=credentials),))
    for name in ("train/a.csv", "train/b.csv", "notes.md"):
        await store.write(f"{root}/{name}", name.encode())
    environment = {
        "ENDPOINT": seaweed.endpoint,
        "ACCESS_KEY_ID": ACCESS_KEY,
        "SECRET_ACCESS_KEY": SECRET_KEY,
        "IGNORE_PATTERNS": "*.md",
    }
    assert await bring(root, tmp_path / "tree", "dataset", environment) == 2
    assert names(tmp_path / "tree") == ["train/a.csv", "train/b.csv"]
    assert await bring(f"{root}/train/a.csv", tmp_path / "one", "dataset", environment) == 1
    assert names(tmp_path / "one") == ["a.csv"]
    with pytest.raises(SourceFailed, match="there is nothing"):
        await bring(f"{root}/nowhere", tmp_path / "none", "dataset", environment)
    with pytest.raises(SourceFailed, match="cannot be fetched"):
        await bring(root, tmp_path / "none", "dataset", environment | {"SECRET_ACCESS_KEY": "wrong"})


@pytest.mark.parametrize(
    ("uri", "environment", "why"),
    [
        ("", {}, "expected a URI"),
        ("data.csv", {}, "expected a URI"),
        ("cache://schema/table", {}, "cache:// is not served here"),
        ("hf://owner", {}, "expected hf://<owner>/<repository>"),
        ("hf://owner/data", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be fetched"),
        ("http://127.0.0.1:9/x", {}, "cannot be fetched"),
        ("file://elsewhere/data", {}, "expected file:///"),
        ("file:///nowhere/at/all", {}, "there is nothing"),
        ("s3://bucket/key", {"ROLE_ARN": "arn:aws:iam::1:role/x"}, "ROLE_ARN is not served here"),
        ("s3://", {}, "cannot be fetched"),
    ],
)
async def test_what_cannot_be_had_is_told(uri: str, environment: dict[str, str], why: str, tmp_path: Path):
    with pytest.raises(SourceFailed, match=why):
        await bring(uri, tmp_path, "dataset", environment)


def test_the_program_ends_with_one_sentence():
    command = [sys.executable, "-m", "ketch.training.initializers", "dataset"]
    environment = {**os.environ, "STORAGE_URI": "cache://x"}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("cache://x: cache:// is not served here")
    assert len(ended.stderr.splitlines()) == 1
