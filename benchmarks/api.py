"""The API server beside etcd: durable creates and reads per second, and watch latency, over TLS with 1 and 16 clients.

etcd does less (no schema, no defaulting, no ownership): it is a yardstick for durability and transport, not a rival.
Both fsync every acknowledged write; both are asked through the same client, etcd by its JSON gateway.
"""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks.load import Connection, Endpoint, Work, throughput
from benchmarks.platforms import Platform, running_platform
from benchmarks.tables import median, percentile, show
from ketch.kube.config import load_config

CLIENTS = (1, 16)
ROUNDS = 3
CREATES, GETS, EVENTS = 2000, 4000, 400
MILLISECONDS = 1000
PATH = "/api/v1/namespaces/default/configmaps"
DATA = {"key": "x" * 200}


@dataclass(frozen=True)
class Subject:
    """One server under measurement: how to write number n, read number n, and watch writes."""

    name: str
    endpoint: Endpoint
    create: Callable[[str], Work]
    get: Callable[[str], Work]
    watch: Callable[[Connection], AsyncIterator[bytes]]


def _config_map(name: str) -> bytes:
    metadata = {"name": name, "labels": {"watched": ""}} if name.startswith("watched") else {"name": name}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": DATA}).encode()


def ketch_subject(platform: Platform, directory: Path) -> Subject:
    """The platform's Kubernetes API, as its administrator."""
    config = load_config(platform.kubeconfig)
    files = {}
    for name in ("authority", "client_certificate", "client_key"):
        files[name] = directory / name
        files[name].write_text(getattr(config, name))
    port = urlsplit(platform.kubernetes).port
    assert port

    def create(prefix: str) -> Work:
        async def work(connection: Connection, number: int) -> None:
            await connection.request("POST", PATH, _config_map(f"{prefix}-{number}"))

        return work

    def get(prefix: str) -> Work:
        async def work(connection: Connection, number: int) -> None:
            await connection.request("GET", f"{PATH}/{prefix}-{number % CREATES}")

        return work

    def watch(connection: Connection) -> AsyncIterator[bytes]:
        # Without a resourceVersion it begins with what exists; the names looked for come after.
        return connection.lines("GET", f"{PATH}?watch=true&labelSelector=watched")

    endpoint = Endpoint(port, files["authority"], files["client_certificate"], files["client_key"])
    return Subject("Ketch", endpoint, create, get, watch)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def etcd_subject(endpoint: Endpoint) -> Subject:
    """etcd's JSON gateway."""

    def create(prefix: str) -> Work:
        async def work(connection: Connection, number: int) -> None:
            name = f"{prefix}-{number}"
            body = {"key": _base64(name), "value": base64.b64encode(_config_map(name)).decode()}
            await connection.request("POST", "/v3/kv/put", json.dumps(body).encode())

        return work

    def get(prefix: str) -> Work:
        async def work(connection: Connection, number: int) -> None:
            body = {"key": _base64(f"{prefix}-{number % CREATES}")}
            await connection.request("POST", "/v3/kv/range", json.dumps(body).encode())

        return work

    async def watch(connection: Connection) -> AsyncIterator[bytes]:
        body = {"create_request": {"key": _base64("watched-"), "range_end": _base64("watched.")}}
        lines = connection.lines("POST", "/v3/watch", json.dumps(body).encode())
        await anext(lines)
        async for line in lines:  # the first answer says that the watch stands
            yield line

    return Subject("etcd", endpoint, create, get, watch)


@contextlib.contextmanager
def running_etcd(tls: Endpoint) -> Iterator[Endpoint]:
    """etcd on a free port, with a data directory of its own and a certificate from the platform's authority."""
    root = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    port, peer = _free_ports()
    url, peer_url = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    certificate, key = (
        tls.certificate_authority.with_name("server.crt"),
        tls.certificate_authority.with_name("server.key"),
    )
    command = [str(Path(sys.executable).parent / "etcd"), "--data-dir", str(root / "data"), "--name", "one"]
    command += ["--listen-client-urls", url, "--advertise-client-urls", url]
    command += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    command += ["--initial-cluster", f"one={peer_url}", "--log-level", "error"]
    command += ["--cert-file", str(certificate), "--key-file", str(key)]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    endpoint = Endpoint(port, tls.certificate_authority, tls.certificate, tls.key)
    try:
        asyncio.run(_answering(endpoint))
        yield endpoint
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root, ignore_errors=True)


def _free_ports() -> tuple[int, int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


async def _answering(endpoint: Endpoint) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                connection = await Connection.open(endpoint)
                await connection.request("POST", "/v3/kv/range", json.dumps({"key": _base64("x")}).encode())
            except OSError:
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return


async def watch_latencies(subject: Subject, writers: int, number: int) -> list[float]:
    """Seconds from sending a create to seeing it in a watch on another connection, ``writers`` at a time."""
    sent: dict[str, float] = {}
    seen: list[float] = []
    watching, writing = await Connection.open(subject.endpoint), asyncio.Event()

    async def look() -> None:
        lines = subject.watch(watching)
        await anext(lines)
        writing.set()
        async for line in lines:
            now = time.perf_counter()
            text = line.decode()
            for event in _names(text):
                if event in sent:
                    seen.append(now - sent[event])
            if len(seen) >= EVENTS:
                return

    looking = asyncio.create_task(look())
    async with asyncio.timeout(60):
        await writing.wait()
        prefix = f"watched-{writers}-{number}"
        create = subject.create(prefix)

        async def work(connection: Connection, number: int) -> None:
            sent[f"{prefix}-{number}"] = time.perf_counter()
            await create(connection, number)

        await throughput(subject.endpoint, writers, EVENTS, work)
        await looking
    await watching.close()
    return seen


def _names(line: str) -> list[str]:
    """Names of the objects that one line of a watch tells of."""
    document = json.loads(line)
    if "result" in document:
        keys = (event["kv"]["key"] for event in document["result"].get("events", ()))
        return [base64.b64decode(key).decode() for key in keys]
    return [document["object"]["metadata"]["name"]] if document.get("type") == "ADDED" else []


async def measure(subject: Subject) -> dict[str, str]:
    """One subject's column: figure by row name, each the median of the rounds."""
    figures: dict[str, str] = {}
    for clients in CLIENTS:
        creates, gets, p50, p99 = [], [], [], []
        for number in range(ROUNDS):
            prefix = f"c{clients}-{number}"
            creates.append(await throughput(subject.endpoint, clients, CREATES, subject.create(prefix)))
            gets.append(await throughput(subject.endpoint, clients, GETS, subject.get(prefix)))
            latencies = await watch_latencies(subject, clients, number)
            p50.append(percentile(latencies, 0.5) * MILLISECONDS)
            p99.append(percentile(latencies, 0.99) * MILLISECONDS)
        figures[f"durable creates/s, {clients} client(s)"] = f"{median(creates):.0f}"
        figures[f"gets/s, {clients} client(s)"] = f"{median(gets):.0f}"
        figures[f"watch latency p50 / p99, ms, {clients} writer(s)"] = f"{median(p50):.1f} / {median(p99):.1f}"
    return figures


def main() -> None:
    uvloop.install()
    directory = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    with running_platform() as platform:
        subject = ketch_subject(platform, directory)
        ours = asyncio.run(measure(subject))
        for kind in ("crt", "key"):
            shutil.copy(platform.directory / "pki" / f"apiserver.{kind}", directory / f"server.{kind}")
    with running_etcd(subject.endpoint) as endpoint:
        theirs = asyncio.run(measure(etcd_subject(endpoint)))
    shutil.rmtree(directory, ignore_errors=True)
    show(
        "API server over TLS, client on the same two cores",
        ("", "Ketch", "etcd (JSON gateway)"),
        [(name, ours[name], theirs[name]) for name in ours],
    )
