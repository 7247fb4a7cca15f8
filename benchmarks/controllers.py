"""What a training job costs the control plane: CPU from its create to its end, for a hundred jobs and for a thousand.

API server (durable), training controllers, Job controller and garbage collection run in this process as they do in the
platform's; the node is played, so nothing else is in the figure. The peer is the platform itself with fewer jobs: what
a job costs must not depend on how many there are.
"""

import asyncio
import gc
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.sizes import scaled
from benchmarks.steps import load
from benchmarks.tables import show
from ketch.kube.codec import format_time
from ketch.kube.definitions import definition_of
from ketch.kube.manager import Manager
from ketch.kube.rest import RESTClient
from ketch.kube.testing import VirtualClock
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.podgroups import PodGroup
from ketch.kube.types.pods import Pod
from ketch.local import workloads
from ketch.local.apiserver.server import APIServer
from ketch.local.program import collect_rarely
from ketch.training.setup import admissions, setup

SIZES = (100, 300, 1_000)
RANKS = 4
AT_ONCE = 32
MILLISECONDS = 1000
LOOK = 0.05
GROUP = "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs"
TRAINER = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default"

Body = dict[str, Any]


def pytorch_jobs(count: int) -> Iterator[tuple[str, Body]]:
    """Jobs of Training Operator v1: a master and workers."""
    container = {"name": "pytorch", "image": "busybox", "command": ["true"]}
    replica = {"restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}
    specs = {"Master": replica, "Worker": replica | {"replicas": RANKS - 1}}
    for number in range(count):
        yield GROUP, {"metadata": {"name": f"job-{number}"}, "spec": {"pytorchReplicaSpecs": specs}}


def train_jobs(count: int) -> Iterator[tuple[str, Body]]:
    """TrainJobs of as many nodes: each becomes a JobSet, that a Job, that pods."""
    trainer = {"numNodes": RANKS, "image": "busybox", "command": ["true"]}
    for number in range(count):
        spec = {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer}
        yield f"{TRAINER}/trainjobs", {"metadata": {"name": f"job-{number}"}, "spec": spec}


@asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[tuple[Manager, RESTClient]]:
    """The controllers over an API server of their own, in this process."""
    clock = VirtualClock()
    async with APIServer(folder / "kube.db", folder / "pki", clock, admissions()) as api:
        client = RESTClient(api.transport())
        manager = Manager(client, clock)
        await client.apply(definition_of(PodGroup), manager="benchmark")  # the scheduler's, which is not here
        workloads.setup(manager)
        await setup(manager)
        running = asyncio.create_task(manager.run())
        await manager.idle()
        try:
            yield manager, client
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def each(work: Sequence[Any], do: Callable[[Any], Any]) -> None:
    """All of it, some at a time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> None:
        async with slots:
            await do(item)

    await asyncio.gather(*map(one, work))


async def play(manager: Manager, client: RESTClient, phase: str) -> None:
    """Be the node of all pods."""
    now = format_time(manager.clock.now())
    state = (
        {"running": {"startedAt": now}} if phase == "Running" else {"terminated": {"exitCode": 0, "finishedAt": now}}
    )

    async def tell(pod: Pod) -> None:
        statuses = [
            {"name": item.name, "state": state, "ready": False, "restartCount": 0, "image": item.image, "imageID": ""}
            for item in pod.spec.containers
        ]
        status = {"phase": phase, "containerStatuses": statuses}
        name = pod.metadata.name
        await client.patch(Pod, name, "default", {"status": status}, content_type=MERGE_PATCH, subresource="status")

    await each([pod for pod in manager.informer(Pod).list() if pod.status.phase != phase], tell)
    await manager.idle()


async def cost(jobs: Callable[[int], Iterator[tuple[str, Body]]], count: int) -> float:
    """CPU milliseconds of one job among ``count``."""
    folder = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    async with control_plane(folder) as (manager, client):
        bodies = list(jobs(count))
        gc.collect()
        started = time.process_time()
        await each(bodies, lambda item: client.request("POST", item[0], body=item[1]))
        # idle() alone would spin while the disk is written, and be in the figure
        while len(manager.informer(Pod).list()) < count * RANKS:  # noqa: ASYNC110  # seen from outside
            await asyncio.sleep(LOOK)
        await manager.idle()
        for phase in ("Running", "Succeeded"):
            await play(manager, client, phase)
        spent = time.process_time() - started
        path = bodies[0][0]
        found = (await client.request("GET", path))["items"]
        ends = [item["status"]["conditions"][-1]["type"] for item in found]
        assert len(found) == count, len(found)
        assert set(ends) <= {"Succeeded", "Complete"}, set(ends)
    shutil.rmtree(folder, ignore_errors=True)
    return spent / count * MILLISECONDS


def main() -> None:
    """Print the table."""
    collect_rarely()  # as the platform's processes do
    before, rows = load(), []
    for name, jobs in ((f"PyTorchJob of {RANKS} pods", pytorch_jobs), (f"TrainJob of {RANKS} nodes", train_jobs)):
        uvloop.run(cost(jobs, min(SIZES)))  # imports and caches
        figures = [uvloop.run(cost(jobs, scaled(size))) for size in SIZES]
        rows.append((name, *(f"{figure:.1f}" for figure in figures), f"{figures[-1] / figures[0]:.2f}"))
    columns = ("CPU milliseconds a job", *(f"{scaled(size):,} jobs" for size in SIZES), "last / first")
    show(f"Training jobs: cost of the control plane, create to end ({before})", columns, rows)
