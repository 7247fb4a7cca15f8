"""Nodes by the thousand, simulated: what a pod costs the control plane from its create until its node knows of it.

Each node is a watch of its own on a connection of its own, over TLS, as a node agent's; it renews its lease and tells
that its pods run. The control plane is the platform's, with everything in it. The peer is the same platform with fewer
nodes and pods: what a pod costs must not grow with them.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks.api import ketch_subject
from benchmarks.load import Connection, Endpoint
from benchmarks.platforms import Platform, running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import load
from benchmarks.tables import show
from benchmarks.usage import MEBIBYTE, Cost, memory_bytes

NODES = (50, 500, 2_000)
PODS_PER_NODE = 10
CLIENTS = 16
LEASE_SECONDS = 10
PATIENCE = 600
WAITING = 1_000
LATE_NODES = 50
"""Pods that wait until that many nodes get the label that they ask for."""

MERGE = "application/merge-patch+json"
PODS = "/api/v1/namespaces/default/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
Work = Callable[[Connection, Any], Awaitable[None]]


def _name(number: int) -> str:
    return f"simulated-{number}"


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _pod(name: str, selector: dict[str, str]) -> bytes:
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    container = {"name": "main", "image": "busybox", "command": ["true"], "resources": resources}
    spec = {"containers": [container], "nodeSelector": selector, "restartPolicy": "Never"}
    return _json(apiVersion="v1", kind="Pod", metadata={"name": name, "labels": {"app": "simulated"}}, spec=spec)


async def _each(endpoint: Endpoint, items: Iterable[Any], work: Work) -> None:
    """All of it, by some clients side by side."""
    rest = iter(items)

    async def drive() -> None:
        connection = await Connection.open(endpoint)
        for item in rest:
            await work(connection, item)
        await connection.close()

    await asyncio.gather(*(drive() for _ in range(CLIENTS)))


async def _register(connection: Connection, number: int) -> None:
    name = _name(number)
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "simulated": "yes"}
    room = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
    await connection.request("POST", "/api/v1/nodes", _json(metadata={"name": name, "labels": labels}))
    status = {"capacity": room, "allocatable": room, "conditions": [ready]}
    await connection.request("PATCH", f"/api/v1/nodes/{name}/status", _json(status=status), MERGE)
    await connection.request("POST", LEASES, _json(metadata={"name": name}, spec={"holderIdentity": name}))


async def _renew(connection: Connection, number: int) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    await connection.request("PATCH", f"{LEASES}/{_name(number)}", _json(spec={"renewTime": now}), MERGE)


class Agents:
    """The nodes' agents: whom they have been told of."""

    def __init__(self, endpoint: Endpoint, count: int) -> None:
        self._endpoint = endpoint
        self._count = count
        self._told: dict[str, str] = {}
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Watch, each its own pods, and renew leases."""
        opened = await asyncio.gather(*(asyncio.create_task(self._open(number)) for number in range(self._count)))
        self._tasks = [asyncio.create_task(self._look(lines)) for lines in opened]
        self._tasks.append(asyncio.create_task(self._live()))

    async def _open(self, number: int) -> Any:
        connection = await Connection.open(self._endpoint)
        path = f"/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3D{_name(number)}"
        lines = connection.lines("GET", path)
        await anext(lines)
        return lines

    async def _look(self, lines: Any) -> None:
        async for line in lines:
            event = orjson.loads(line)
            if event["type"] == "ADDED":
                self._told[event["object"]["metadata"]["name"]] = event["object"]["spec"]["nodeName"]
                self._news.set()

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 2)
            await _each(self._endpoint, range(self._count), _renew)

    async def know(self, count: int) -> None:
        """Until so many pods are known to their nodes."""
        async with asyncio.timeout(PATIENCE):
            while len(self._told) < count:
                self._news.clear()
                await self._news.wait()

    def pods(self) -> list[str]:
        """All that are known."""
        return list(self._told)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _create(connection: Connection, item: tuple[str, dict[str, str]]) -> None:
    await connection.request("POST", PODS, _pod(*item))


async def _run(connection: Connection, name: str) -> None:
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    container = {"name": "main", "image": "busybox", "imageID": "", "ready": True, "restartCount": 0}
    status = {
        "phase": "Running",
        "podIP": "10.244.0.9",
        "startTime": started,
        "conditions": [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady")],
        "containerStatuses": [container | {"state": {"running": {"startedAt": started}}}],
    }
    await connection.request("PATCH", f"{PODS}/{name}/status", _json(status=status), MERGE)


async def _label(connection: Connection, number: int) -> None:
    body = _json(metadata={"labels": {"late": "yes"}})
    await connection.request("PATCH", f"/api/v1/nodes/{_name(number)}", body, MERGE)


async def measure(platform: Platform, endpoint: Endpoint, nodes: int) -> dict[str, str]:
    """The figures of one size."""
    pid, pods = platform.processes()["control-plane"]["pid"], nodes * PODS_PER_NODE
    agents, figures = Agents(endpoint, nodes), dict[str, str]()
    await _each(endpoint, range(nodes), _register)
    before = memory_bytes(pid)
    await agents.begin()
    figures["memory of a watch, KiB"] = f"{(memory_bytes(pid) - before) / nodes / 1024:.0f}"

    async def record(name: str, count: int, work: Awaitable[None]) -> None:
        cost = Cost(pid)
        await work
        micros, rate = cost.taken(count)
        figures[f"{name}: CPU of the control plane, ms"] = f"{micros / 1000:.2f}"
        figures[f"{name}: a second"] = f"{rate:.0f}"

    async def create() -> None:
        await _each(endpoint, ((f"pod-{number}", {"simulated": "yes"}) for number in range(pods)), _create)
        await agents.know(pods)

    await record("a pod, create until its node knows", pods, create())
    await record("a pod is told to run", pods, _each(endpoint, agents.pods(), _run))
    figures["memory of a pod, KiB"] = f"{(memory_bytes(pid) - before) / pods / 1024:.0f}"
    late = scaled(WAITING)
    await _each(endpoint, ((f"late-{number}", {"late": "yes"}) for number in range(late)), _create)

    async def come() -> None:
        await _each(endpoint, range(min(nodes, LATE_NODES)), _label)
        await agents.know(pods + late)

    await record("a pod that waited, nodes come until its own knows", late, come())
    figures["control plane afterwards, MiB"] = f"{memory_bytes(pid) / MEBIBYTE:.0f}"
    await agents.end()
    return figures


def main() -> None:
    """Print the table."""
    before, columns, sizes = load(), [], []
    for size in NODES:
        nodes = scaled(size)
        directory = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
        with running_platform(warm=False) as platform:
            endpoint = ketch_subject(platform, directory).endpoint
            columns.append(uvloop.run(measure(platform, endpoint, nodes)))
        shutil.rmtree(directory, ignore_errors=True)
        sizes.append(f"{nodes:,} nodes, {nodes * PODS_PER_NODE:,} pods")
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    show(f"Simulated nodes, each a watch over TLS ({before})", ("", *sizes), rows)
