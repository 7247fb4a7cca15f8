"""The API server beside etcd: durable creates and reads per second, and watch latency, over TLS with 1 and 16 clients.

etcd does less (no schema, no defaulting, no ownership): it is a yardstick for durability and transport, not a rival.
Both fsync every acknowledged write; both are asked through the same client, etcd by its JSON gateway.
"""

import asyncio
import base64
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks.etcd import encoded, running_etcd
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


def lend_certificate(platform: Platform, directory: Path) -> None:
    """Let the peer show the platform's own certificate: the client trusts it already."""
    for kind in ("crt", "key"):
        shutil.copy(platform.directory / "pki" / f"apiserver.{kind}", directory / f"server.{kind}")


def etcd_subject(endpoint: Endpoint) -> Subject:
    """etcd's JSON gateway."""

    def create(prefix: str) -> Work:
        async def work(connection: Connection, number: int) -> None:
            name = f"{prefix}-{number}"
            body = {"key": encoded(name), "value": base64.b64encode(_config_map(name)).decode()}
            await connection.request("POST", "/v3/kv/put", json.dumps(body).encode())

        return work

    def get(prefix: str) -> Work:
        async def work(connection: Connection, number: int) -> None:
            body = {"key": encoded(f"{prefix}-{number % CREATES}")}
            await connection.request("POST", "/v3/kv/range", json.dumps(body).encode())

        return work

    async def watch(connection: Connection) -> AsyncIterator[bytes]:
        body = {"create_request": {"key": encoded("watched-"), "range_end": encoded("watched.")}}
        lines = connection.lines("POST", "/v3/watch", json.dumps(body).encode())
        await anext(lines)
        async for line in lines:  # the first answer says that the watch stands
            yield line

    return Subject("etcd", endpoint, create, get, watch)


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
        lend_certificate(platform, directory)
    with running_etcd(subject.endpoint) as etcd:
        theirs = asyncio.run(measure(etcd_subject(etcd.endpoint)))
    shutil.rmtree(directory, ignore_errors=True)
    show(
        "API server over TLS, client on the same two cores",
        ("", "Ketch", "etcd (JSON gateway)"),
        [(name, ours[name], theirs[name]) for name in ours],
    )
