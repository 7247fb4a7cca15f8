"""Pods and workspaces that go when their time is up, and of ended pods the oldest."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.playing import World, a_pod, a_world

from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.containers import ResourceRequirements
from ketch.kube.types.core import PersistentVolumeClaim, Pod
from ketch.kube.types.volumes import ClaimSpec
from ketch.metadata.database import Database
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import advance_run
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.retention.pods import AGAIN_SECONDS, AT_WORST, QUIET_SECONDS
from ketch.pipelines.retention.resources import RunResourcesReconciler
from ketch.pipelines.retention.setup import setup
from ketch.pipelines.settings import Retention
from ketch.pipelines.steps.step import APP_LABELS, OURS, RUN_LABEL, TASK_LABEL

MOST = 3


@dataclass
class Stage:
    """A cluster in which pods age."""

    world: World
    database: Database

    async def run(self, name: str, ttl: Mapping[str, int] | None) -> Run:
        now = self.world.now()
        run = Run(
            id=name,
            name=name,
            display_name=name,
            namespace="default",
            experiment_id="e",
            pipeline_spec={},
            pipeline_root="minio://b",
            created_at=now,
            state="",
            resource_ttl=ttl,
        )
        advance_run(run, "RUNNING", now)
        await RunStore(self.database).create(run)
        return run

    async def end(self, name: str, state: str) -> None:
        """As the engine does it."""
        async with RunStore(self.database).change_existing(name) as run:
            advance_run(run, state, self.world.now())
        self.tell(run)

    async def pod(self, name: str, run: str, task: str = "") -> None:
        await self.world.client.create(a_pod(name, {**APP_LABELS, RUN_LABEL: run, TASK_LABEL: task or name}))

    async def claim(self, name: str, labels: Mapping[str, str]) -> None:
        spec = ClaimSpec(access_modes=("ReadWriteOnce",), resources=ResourceRequirements(requests={"storage": "1Gi"}))
        meta = ObjectMeta(name=name, namespace="default", labels=labels)
        await self.world.client.create(PersistentVolumeClaim(metadata=meta, spec=spec))

    async def task(self, name: str, state: str) -> None:
        now = self.world.now()
        async with self.database.transaction() as session:
            session.add(
                Task(
                    id=name,
                    run_id="r",
                    path=name,
                    name=name,
                    display_name=name,
                    kind="container",
                    state=state,
                    created_at=now,
                )
            )

    async def names(self) -> list[str]:
        await self.world.settle()
        return [pod.metadata.name for pod in await self.world.all(Pod)]

    def tell(self, run: Run) -> None:
        raise NotImplementedError  # what the platform tells; set by the fixture


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    await database.open()
    told = []

    async def retention(manager: Manager) -> None:
        pods = manager.informer(Pod, label_selector=OURS)
        told.append(await setup(manager, database, Retention(), pods, lambda key: None, MOST))

    async with a_world(tmp_path, retention) as world:
        stage = Stage(world, database)
        stage.tell = told[0]  # type: ignore[method-assign]
        yield stage
    await database.close()


@pytest.mark.parametrize(("state", "seconds"), [("SUCCEEDED", 100), ("FAILED", 500)])
async def test_resources_go_when_their_time_is_up(stage: Stage, state: str, seconds: int):
    await stage.run("r", {"SUCCEEDED": 100, "FAILED": 500})
    await stage.run("other", None)
    await stage.pod("mine", "r")
    await stage.pod("theirs", "other")
    await stage.claim("workspace", {**APP_LABELS, RUN_LABEL: "r"})
    await stage.claim("data", {"app": "mine"})
    await stage.end("r", state)
    await stage.end("other", state)
    await stage.world.pass_time(seconds - 1)
    assert await stage.names() == ["mine", "theirs"]
    await stage.world.pass_time(2)
    assert await stage.names() == ["theirs"]
    assert [claim.metadata.name for claim in await stage.world.all(PersistentVolumeClaim)] == ["data"]
    run = await RunStore(stage.database).get("r")
    assert run is not None
    assert (run.state, run.resources_until) == (state, None)


async def test_a_run_that_is_retried_keeps_what_it_has(stage: Stage):
    await stage.run("r", {"FAILED": 100})
    await stage.pod("mine", "r")
    await stage.end("r", "FAILED")
    await stage.world.pass_time(50)
    async with RunStore(stage.database).change_existing("r") as run:
        advance_run(run, "PENDING", stage.world.now())
    await stage.world.pass_time(1000)
    assert await stage.names() == ["mine"]
    await stage.end("r", "FAILED")
    await stage.world.pass_time(101)
    assert await stage.names() == []


async def test_times_that_ran_out_while_nobody_looked(stage: Stage):
    await stage.run("r", {"SUCCEEDED": 10})
    await stage.pod("mine", "r")
    async with RunStore(stage.database).change_existing("r") as run:
        advance_run(run, "SUCCEEDED", stage.world.now())
    await stage.world.pass_time(60)
    assert await stage.names() == ["mine"]  # as if this process had been killed before it was told
    again = RunResourcesReconciler(stage.world.client, stage.database, stage.world.clock)
    (key,) = await again.waiting()
    assert key == ObjectKey("default", "r")
    await again.reconcile(key)
    assert await stage.names() == []


async def an_end(stage: Stage, name: str, state: str = "SUCCEEDED") -> None:
    """A step's pod that ends; ``state`` is what the engine knows of its task."""
    await stage.task(name, state)
    await stage.pod(name, "r")
    await stage.world.play_all("Succeeded")
    await stage.world.pass_time(1)


async def test_of_pods_that_have_ended_the_newest_stay_once_it_is_quiet(stage: Stage):
    for number in range(6):
        await an_end(stage, f"p{number}", "RUNNING" if number == 1 else "SUCCEEDED")
    assert len(await stage.names()) == 6
    await stage.world.pass_time(QUIET_SECONDS)
    assert await stage.names() == ["p1", "p3", "p4", "p5"]  # the engine has not read what p1 had to say
    async with stage.database.transaction() as session:
        await session.execute(update(Task).values(state="SUCCEEDED"))
    await stage.world.pass_time(AGAIN_SECONDS)
    assert await stage.names() == ["p3", "p4", "p5"]


async def test_however_busy_it_is_there_is_an_end_to_it(stage: Stage):
    for number in range(10, 45):
        await an_end(stage, f"p{number}")
        assert len(await stage.names()) <= MOST * AT_WORST + QUIET_SECONDS
    assert "p44" in await stage.names()
