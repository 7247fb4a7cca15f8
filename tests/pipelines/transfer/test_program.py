"""What the carrying containers do, against SeaweedFS and a web server: the real program and its parts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.waiting import eventually

from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.table import Connection, Kind, Place
from ketch.pipelines.transfer import program
from ketch.pipelines.transfer.program import Carrier, TransferFailed, read_table
from ketch.pipelines.transfer.sources import STORES


def environment(seaweed: Seaweed, secret: str = SECRET_KEY) -> dict[str, str]:
    """As the pod has it."""
    names = {"access_key": "KETCH_STORE_0_ACCESS_KEY", "secret_key": "KETCH_STORE_0_SECRET_KEY"}
    connection = Connection(kind=Kind.S3, endpoint=seaweed.endpoint, path_style=True)
    place = Place(scheme="s3", bucket="artifacts", connection=connection, credentials=names)
    return {
        STORES: msgspec.json.encode([place]).decode(),
        "KETCH_STORE_0_ACCESS_KEY": ACCESS_KEY,
        "KETCH_STORE_0_SECRET_KEY": secret,
    }


@pytest.fixture
def store(seaweed: Seaweed) -> RemoteObjectStore:
    return RemoteObjectStore(read_table(environment(seaweed)))


@pytest.fixture
def carrier(seaweed: Seaweed, tmp_path: Path) -> Carrier:
    return Carrier(read_table(environment(seaweed)), {}, tmp_path / "root")


@pytest.fixture
def root() -> str:
    return f"s3://artifacts/{uuid4()}"


def below(tmp_path: Path, uri: str) -> Path:
    return tmp_path / "root" / uri.replace("s3://", "s3/")


async def test_inputs_are_fetched_and_missing_ones_left_to_the_step(
    store: RemoteObjectStore, carrier: Carrier, root: str, tmp_path: Path
):
    await store.write(f"{root}/data.csv", b"1,2")
    await store.write(f"{root}/tree/a/b", b"deep")
    await carrier.fetch([f"{root}/data.csv", f"{root}/tree/", f"{root}/missing", "s3://unknown/x", "ftp://h/x"])
    assert below(tmp_path, root).joinpath("data.csv").read_bytes() == b"1,2"
    assert below(tmp_path, root).joinpath("tree/a/b").read_bytes() == b"deep"
    assert not below(tmp_path, root).joinpath("missing").exists()


async def test_all_that_a_step_left_is_delivered_and_its_document_last(
    store: RemoteObjectStore, carrier: Carrier, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    order: list[str] = []
    deliver = RemoteObjectStore.deliver

    async def noted(self: RemoteObjectStore, path: Path, uri: str, below: str) -> None:
        await deliver(self, path, uri, below)
        order.append(f"{uri}/{below}")

    monkeypatch.setattr(RemoteObjectStore, "deliver", noted)
    carrier.prepare(f"{root}/task")
    place = below(tmp_path, f"{root}/task")
    assert place.stat().st_mode & 0o777 == 0o777
    (place / "model").mkdir()
    (place / "model/weights").write_bytes(b"w")
    (place / "model/latest").symlink_to("weights")
    (place / "model/secrets").symlink_to("/etc/passwd")
    (place / "model/tree").symlink_to("/etc")
    (place / "accuracy").write_text("0.5")
    (place / "model/what?").write_bytes(b"?")
    elsewhere, given = f"{root}/elsewhere", f"{root}/given"
    for uri in (elsewhere, given):
        below(tmp_path, uri).parent.mkdir(parents=True, exist_ok=True)
        below(tmp_path, uri).write_bytes(b"moved")
    written = [{"uri": uri} for uri in (elsewhere, given, "s3://unknown/x", "gs://b/x", f"{root}/task/model")]
    (place / "executor_output.json").write_text(json.dumps({"artifacts": {"a": {"artifacts": written}}}))
    await carrier.deliver(f"{root}/task", [given])
    assert await store.read(f"{root}/task/model/latest") == b"w" == await store.read(f"{root}/task/model/weights")
    assert await store.read(f"{root}/task/accuracy") == b"0.5"
    assert await store.read(elsewhere) == b"moved"
    assert not await store.exists(given)
    assert not await store.exists(f"{root}/task/model/secrets")
    assert not await store.exists(f"{root}/task/model/tree")
    assert order[-1] == f"{root}/task/executor_output.json"
    assert len(order) == 6
    await store.fetch(f"{root}/task/model", tmp_path / "back")
    assert (tmp_path / "back/what?").read_bytes() == b"?"


async def test_no_link_leads_the_sidecar_out_of_the_steps_directory(
    store: RemoteObjectStore, carrier: Carrier, root: str, tmp_path: Path
):
    (tmp_path / "credentials").write_text("secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/credentials").write_text("secret")
    place = below(tmp_path, f"{root}/task")
    place.parent.mkdir(parents=True)
    for uri, target in ((f"{root}/file", "credentials"), (f"{root}/tree", "folder")):
        below(tmp_path, uri).symlink_to(tmp_path / target)
    written = [{"uri": f"{root}/{name}"} for name in ("file", "tree", "tree/credentials")]
    document = json.dumps({"artifacts": {"a": {"artifacts": written}}})
    place.mkdir()
    (place / "executor_output.json").write_text(document)
    await carrier.deliver(f"{root}/task", [])
    assert [await store.exists(f"{root}/{name}") for name in ("file", "tree", "task/executor_output.json")] == [
        False,
        False,
        True,
    ]
    (place / "executor_output.json").unlink()
    (place / "executor_output.json").symlink_to(tmp_path / "credentials")
    await carrier.deliver(f"{root}/linked", [])
    place.joinpath("executor_output.json").unlink()
    place.rmdir()
    place.symlink_to(tmp_path / "folder")
    await carrier.deliver(f"{root}/task", [])
    assert not await store.exists(f"{root}/task/credentials")


async def test_what_cannot_be_carried_is_told(seaweed: Seaweed, root: str, tmp_path: Path):
    stranger = Carrier(read_table(environment(seaweed, "wrong")), {}, tmp_path)
    with pytest.raises(TransferFailed, match=f"an input could not be fetched: fetching {root}/x: access denied"):
        await stranger.fetch([f"{root}/x"])
    stranger.prepare(f"{root}/task")
    (tmp_path / root.replace("s3://", "s3/") / "task/x").write_bytes(b"")
    with pytest.raises(TransferFailed, match=f"an output could not be uploaded: uploading to {root}/task/x"):
        await stranger.deliver(f"{root}/task", [])


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/iris.csv").write_bytes(b"5.1,3.5")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_web_addresses_are_fetched_and_dead_ones_left(
    carrier: Carrier, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    missed = await carrier.fetch([f"{web}/{name}" for name in ("iris.csv?raw=1", "missing.csv")])
    assert missed == [f"{web}/missing.csv cannot be fetched: HTTP Error 404: File not found"]
    refused, malformed = await carrier.fetch(["http://127.0.0.1:1/x", "http://[bad/x"])
    assert refused == "http://127.0.0.1:1/x cannot be fetched: [Errno 111] Connection refused"
    assert malformed.startswith("http://[bad/x cannot be fetched: ")
    host = web.removeprefix("http://")
    folder = tmp_path / "root/kfp-workspace/.artifacts/http:" / host
    assert [path.name for path in folder.iterdir()] == ["iris.csv?raw=1"]
    monkeypatch.setattr(program, "LARGEST_FROM_WEB", 1)
    await carrier.fetch([f"{web}/iris.csv"])
    assert not (folder / "iris.csv").exists()


async def test_a_proxys_own_words_are_told(carrier: Carrier):
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot here\n")
        writer.close()

    server = await asyncio.start_server(refusing, "127.0.0.1", 0)
    (told,) = await carrier.fetch([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"])
    assert told.endswith("/x cannot be fetched: HTTP Error 403: Forbidden: not here")
    server.close()
    await server.wait_closed()


async def test_an_answer_that_breaks_off_is_no_file(carrier: Carrier, tmp_path: Path):
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    server = await asyncio.start_server(short, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (told,) = await carrier.fetch([f"http://127.0.0.1:{port}/x"])
    assert told.endswith("/x: fetched no more than 4 of 100 bytes")
    assert list((tmp_path / f"root/kfp-workspace/.artifacts/http:/127.0.0.1:{port}").iterdir()) == []
    server.close()
    await server.wait_closed()


async def test_a_name_that_no_store_can_have_fails_in_words(carrier: Carrier, root: str, tmp_path: Path):
    carrier.prepare(f"{root}/task")
    (below(tmp_path, f"{root}/task") / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(TransferFailed, match="an output could not be uploaded"):
        await carrier.deliver(f"{root}/task", [])


@pytest.mark.parametrize(("secret", "code"), [(SECRET_KEY, 0), ("wrong", 1)])
async def test_the_sidecar_uploads_when_it_is_told_of_the_end(
    seaweed: Seaweed, store: RemoteObjectStore, root: str, tmp_path: Path, secret: str, code: int
):
    """As the pod runs it, but for its own root."""
    ready, main = tmp_path / "ready", program.__file__.replace("program.py", "__main__.py")
    script = (
        "import runpy, sys; from pathlib import Path; from ketch.pipelines.transfer import program\n"
        f"program.READY = {str(ready)!r}\n"
        f"program.Carrier.__init__.__defaults__ = (Path({str(tmp_path / 'root')!r}),)\n"
        f"sys.argv = ['x', 'deliver', {root!r}]; runpy.run_path({main!r}, run_name='__main__')"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env={**os.environ, **environment(seaweed, secret)}, stderr=subprocess.PIPE
    )
    await eventually(ready.exists)
    below(tmp_path, root).joinpath("result").write_bytes(b"late")
    process.send_signal(signal.SIGTERM)
    _, said = await process.communicate()
    assert process.returncode == code, said.decode()
    if code:
        assert said.decode().startswith("an output could not be uploaded: ")
        assert "access denied" in said.decode()
    else:
        assert await store.read(f"{root}/result") == b"late"
        assert not said


def test_wrong_arguments_are_told():
    answer = subprocess.run([sys.executable, "-m", "ketch.pipelines.transfer", "x"], capture_output=True, check=False)
    assert answer.returncode == 1
    assert b"fetch URI" in answer.stderr
