"""A thousand objects, ten thousand, a hundred thousand: what each costs, beside etcd.

CPU time is the server's alone. Objects are ConfigMaps of some 400 bytes as stored; etcd keeps their bytes and knows
nothing of them. Both are killed and started again on what they hold.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.api import MILLISECONDS, PATH, Subject, etcd_subject, ketch_subject, lend_certificate, watch_latencies
from benchmarks.etcd import Etcd, encoded, running_etcd
from benchmarks.load import Connection, throughput
from benchmarks.platforms import Platform, running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import load
from benchmarks.tables import percentile, show
from benchmarks.usage import Cost, memory_bytes

SIZES = (1_000, 10_000, 100_000)
CLIENTS, GETS, PAGE, PATIENCE = 16, 4_000, 500, 120
Pages = Callable[[Connection, int], AsyncIterator[int]]
"""Lists everything in pages of so many (0: all at once); yields how many objects were in each."""


@dataclass(frozen=True)
class Server:
    """One server under measurement."""

    subject: Subject
    pages: Pages
    pid: Callable[[], int]
    database_bytes: Callable[[], int]
    kill_and_start: Callable[[], float]


async def _ketch_pages(connection: Connection, size: int) -> AsyncIterator[int]:
    token = ""
    while True:
        query = f"?limit={size}&continue={token}" if size else ""
        answer = json.loads(await connection.request("GET", PATH + query))
        yield len(answer["items"])
        token = answer["metadata"].get("continue", "")
        if not token:
            return


async def _etcd_pages(connection: Connection, size: int) -> AsyncIterator[int]:
    start, end = encoded("a"), encoded("z")
    while True:
        body = {"key": start, "range_end": end} | ({"limit": size} if size else {})
        answer = json.loads(await connection.request("POST", "/v3/kv/range", json.dumps(body).encode()))
        found = answer.get("kvs", [])
        yield len(found)
        if not answer.get("more"):
            return
        start = encoded_after(found[-1]["key"])


def encoded_after(key: str) -> str:
    """The key that follows one, both as the gateway has them."""
    return base64.b64encode(base64.b64decode(key) + b"\0").decode()


def _ketch(platform: Platform, directory: Path) -> Server:
    subject = ketch_subject(platform, directory)

    def pid() -> int:
        return platform.processes()["control-plane"]["pid"]

    async def answers() -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    connection = await Connection.open(subject.endpoint)
                    await connection.request("GET", f"{PATH}/filled-0")
                except (OSError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.02)
                else:
                    await connection.close()
                    return

    def kill_and_start() -> float:
        started = time.perf_counter()
        os.kill(pid(), signal.SIGKILL)
        asyncio.run(answers())
        taken = time.perf_counter() - started
        time.sleep(3)  # controllers take their copies
        return taken

    return Server(
        subject,
        _ketch_pages,
        pid,
        lambda: sum(path.stat().st_blocks * 512 for path in platform.directory.glob("kube.db*")),
        kill_and_start,
    )


def _etcd(etcd: Etcd) -> Server:
    return Server(etcd_subject(etcd.endpoint), _etcd_pages, lambda: etcd.pid, etcd.database_bytes, etcd.kill_and_start)


async def _listed(server: Server, size: int) -> tuple[str, int]:
    """CPU microseconds of the server per object of a whole list, and how many there were."""
    connection, cost = await Connection.open(server.subject.endpoint), Cost(server.pid())
    count = sum([each async for each in server.pages(connection, size)])
    micros, _ = cost.taken(count)
    await connection.close()
    return f"{micros:.2f}", count


async def _at_size(server: Server, have: int, size: int, empty: tuple[int, int]) -> dict[str, str]:
    subject, figures = server.subject, dict[str, str]()
    create, get = subject.create("filled"), subject.get("filled")

    async def more(connection: Connection, number: int) -> None:
        await create(connection, have + number)

    async def some(connection: Connection, number: int) -> None:
        await get(connection, number % size)

    for name, count, work in (("create", size - have, more), ("get", scaled(GETS), some)):
        cost = Cost(server.pid())
        rate = await throughput(subject.endpoint, CLIENTS, count, work)
        figures[f"{name}: CPU, µs"] = f"{cost.taken(count)[0]:.0f}"
        figures[f"{name}: a second, {CLIENTS} clients"] = f"{rate:.0f}"
    figures[f"an object listed in pages of {PAGE}: CPU, µs"], count = await _listed(server, PAGE)
    figures["an object listed with all: CPU, µs"], _ = await _listed(server, 0)
    figures["memory of an object, bytes"] = f"{(memory_bytes(server.pid()) - empty[0]) / count:.0f}"
    figures["disk for an object, bytes"] = f"{(server.database_bytes() - empty[1]) / count:.0f}"
    latencies = await watch_latencies(subject, 1, size)
    shown = " / ".join(f"{percentile(latencies, share) * MILLISECONDS:.1f}" for share in (0.5, 0.99))
    figures["create until a watch shows it, p50 / p99, ms"] = shown
    return figures


def _measure(server: Server) -> list[dict[str, str]]:
    columns, have, empty = [], 0, (memory_bytes(server.pid()), server.database_bytes())
    for size in SIZES:
        figures = uvloop.run(_at_size(server, have, scaled(size), empty))
        figures["killed, until it answers again, s"] = f"{server.kill_and_start():.2f}"
        have = scaled(size)
        columns.append(figures)
    return columns


def main() -> None:
    """Print the table."""
    before, directory = load(), Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    with running_platform(warm=False) as platform:
        server = _ketch(platform, directory)
        ours = _measure(server)
        lend_certificate(platform, directory)
    with running_etcd(server.subject.endpoint) as etcd:
        theirs = _measure(_etcd(etcd))
    shutil.rmtree(directory, ignore_errors=True)
    names = [f"{who} {scaled(size):,}" for who in ("Ketch", "etcd") for size in SIZES]
    rows = [(name, *(column[name] for column in (*ours, *theirs))) for name in ours[0]]
    show(f"Objects: what each costs the server among so many ({before})", ("", *names), rows)
