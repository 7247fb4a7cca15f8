"""The same single operations on an empty platform and on a full one: 10,000 ConfigMaps, 1,000 pods that wait.

The peer is the platform itself, minutes younger.
"""

import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.api import MILLISECONDS, Subject, ketch_subject
from benchmarks.load import Connection, throughput
from benchmarks.platforms import Platform, running_platform
from benchmarks.pods import Watched, open_client, running_latencies
from benchmarks.tables import median, show

CONFIG_MAPS, PODS, CALLS, STARTS, CLIENTS = 10_000, 1_000, 300, 20, 8
POD_PATH = "/api/v1/namespaces/default/pods"


def _waiting_pod(number: int) -> bytes:
    """A pod that fits no node."""
    container = {"name": "main", "image": "busybox", "command": ["true"]}
    spec = {"containers": [container], "nodeSelector": {"no-node": "has-this"}}
    metadata = {"name": f"waiting-{number}", "labels": {"waiting": "for-ever"}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).encode()


async def _fill(subject: Subject) -> None:
    async def pod(connection: Connection, number: int) -> None:
        await connection.request("POST", POD_PATH, _waiting_pod(number))

    await throughput(subject.endpoint, CLIENTS, CONFIG_MAPS, subject.create("filling"))
    await throughput(subject.endpoint, CLIENTS, PODS, pod)


async def _milliseconds(subject: Subject, prefix: str) -> tuple[float, float]:
    """Of a create and of a get: medians of calls one after the other."""
    connection = await Connection.open(subject.endpoint)
    figures = []
    for work in (subject.create(prefix), subject.get(prefix)):
        calls = []
        for number in range(CALLS):
            started = time.perf_counter()
            await work(connection, number)
            calls.append((time.perf_counter() - started) * MILLISECONDS)
        figures.append(median(calls))
    await connection.close()
    return figures[0], figures[1]


async def measure(platform: Platform, subject: Subject) -> None:
    client = open_client(platform)
    watched, begun = Watched(), asyncio.Event()
    watching = asyncio.create_task(watched.run(client, begun))
    await begun.wait()
    await running_latencies(client, watched, "first", 3)
    columns = []
    for prefix in ("empty", "full"):
        if columns:
            await _fill(subject)
        create, get = await _milliseconds(subject, prefix)
        starts = await running_latencies(client, watched, prefix, STARTS)
        columns.append((f"{create:.2f}", f"{get:.2f}", f"{median(starts) * MILLISECONDS:.0f}"))
    watching.cancel()
    await client.close()
    names = ("create a ConfigMap, ms", "get a ConfigMap, ms", "pod create → Running, ms")
    show(
        f"Growth: medians of single operations, alone and beside {CONFIG_MAPS:,} ConfigMaps and {PODS:,} pods",
        ("", "empty", "full"),
        [(name, *figures) for name, *figures in zip(names, *columns, strict=True)],
    )


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    with running_platform() as platform:
        uvloop.run(measure(platform, ketch_subject(platform, directory)))
    shutil.rmtree(directory, ignore_errors=True)
