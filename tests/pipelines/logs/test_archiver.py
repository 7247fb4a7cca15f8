"""The archiver on the real API server: no pod goes before its log is kept, and none is held for nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.codec import format_time
from ketch.kube.controller import Controller
from ketch.kube.errors import NotFound, TransportError
from ketch.kube.manager import Manager, Maps
from ketch.kube.meta import ObjectMeta
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.containers import Container
from ketch.kube.types.core import ConfigMap, Namespace, Pod
from ketch.kube.types.pods import PodSpec
from ketch.metadata.objects import LocalObjectStore
from ketch.pipelines.logs import archiver as under_test
from ketch.pipelines.logs.archive import LogArchive
from ketch.pipelines.logs.archiver import ANNOTATION, FINALIZER, LogArchiver
from ketch.pipelines.steps.step import RUN_LABEL
from ketch.pipelines.transfer.stores import SELECTOR, Stores

NAMESPACE = "team"
URI = "minio://mlpipeline/x/executor-logs"


@dataclass
class Stage:
    """``said`` are the logs that a node would have; None is a node that does not answer."""

    client: Any
    objects: Path
    said: dict[str, bytes | None] = field(default_factory=dict)
    runs: set[str] = field(default_factory=lambda: {"run"})

    async def known(self, run_id: str) -> bool:
        return run_id in self.runs

    async def pod(self, name: str, phase: str, said: bytes | None = b"hello\n", node: str = "node") -> None:
        self.said[name] = said
        meta = ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            finalizers=(FINALIZER,),
            labels={RUN_LABEL: "run"},
            annotations={ANNOTATION: f"{URI}-{name}"},
        )
        spec = PodSpec(containers=(Container(name="main", image="x"),), node_name=node)
        await self.client.create(Pod(metadata=meta, spec=spec))
        if phase != "Pending":
            await self.status(name, phase)

    async def status(self, name: str, phase: str) -> None:
        ended = phase in ("Succeeded", "Failed")
        terminated = {"exitCode": 0, "finishedAt": format_time(SYSTEM_CLOCK.now().replace(microsecond=0))}
        state = {"terminated": terminated, "running": None} if ended else {"running": {}}
        container = {"name": "main", "state": state, "ready": False, "restartCount": 0, "image": "x", "imageID": ""}
        body = {"status": {"phase": phase, "containerStatuses": [container]}}
        await self.client.patch(Pod, name, NAMESPACE, body, content_type=MERGE_PATCH, subresource="status")

    def kept(self, name: str) -> bytes | None:
        path = self.objects / f"mlpipeline/x/executor-logs-{name}"
        return path.read_bytes() if path.exists() else None

    async def gone(self, name: str) -> bool:
        try:
            await self.client.get(Pod, name, NAMESPACE)
        except NotFound:
            return True
        return False

    async def held(self, name: str) -> bool:
        return FINALIZER in (await self.client.get(Pod, name, NAMESPACE)).metadata.finalizers


class WithLogs:
    """The client, with a node that has logs."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stage.client, name)

    @asynccontextmanager
    async def logs(self, name: str, namespace: str, *, container: str) -> AsyncIterator[AsyncIterator[bytes]]:
        assert (namespace, container) == (NAMESPACE, "main")

        async def chunks() -> AsyncIterator[bytes]:
            said = self.stage.said[name]
            if said is None:
                raise TransportError("the node does not answer")
            yield said

        yield chunks()


@asynccontextmanager
async def archiving(stage: Stage) -> AsyncIterator[Controller]:
    manager = Manager(stage.client, SYSTEM_CLOCK)
    pods = manager.informer(Pod)
    stores = Stores(
        stage.client,
        manager.informer(ConfigMap, field_selector=SELECTOR),
        SYSTEM_CLOCK,
        LocalObjectStore(stage.objects),
    )
    archiver = LogArchiver(WithLogs(stage), pods, LogArchive(stores), stage.known, SYSTEM_CLOCK)
    controller = manager.controller("logs", archiver, Maps(pods, archiver.keys))
    running = asyncio.create_task(manager.run())
    await manager.ready()
    yield controller
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def stage(client: Any, tmp_path: Path) -> Stage:
    await client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    return Stage(client, tmp_path / "objects")


async def delete(stage: Stage, name: str, grace: int | None = None) -> None:
    query = {} if grace is None else {"gracePeriodSeconds": str(grace)}
    await stage.client.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", query)


async def test_a_deleted_pods_log_is_kept_before_it_goes(stage: Stage):
    await stage.pod("a", "Succeeded")
    async with archiving(stage):
        assert await stage.held("a")
        await delete(stage, "a", 0)
        await eventually(lambda: stage.gone("a"))
    assert stage.kept("a") == b"hello\n"


async def test_deleted_while_nobody_was_there(stage: Stage):
    await stage.pod("a", "Failed")
    await delete(stage, "a", 0)
    assert not await stage.gone("a")
    async with archiving(stage):
        await eventually(lambda: stage.gone("a"))
    assert stage.kept("a") == b"hello\n"


async def test_what_a_pod_says_at_its_end_is_in_the_log(stage: Stage):
    await stage.pod("a", "Running", b"so far\n")
    async with archiving(stage):
        await delete(stage, "a", 30)
        await eventually(lambda: stage.client.get(Pod, "a", NAMESPACE))
        stage.said["a"] = b"so far\nand the end\n"
        await stage.status("a", "Failed")
        await delete(stage, "a", 0)
        await eventually(lambda: stage.gone("a"))
    assert stage.kept("a") == b"so far\nand the end\n"


async def test_a_pod_that_never_ran_is_not_held(stage: Stage):
    await stage.pod("a", "Pending", node="")
    async with archiving(stage):
        await delete(stage, "a")
        await eventually(lambda: stage.gone("a"))
    assert stage.kept("a") is None


async def test_a_quiet_pod_is_let_go_of_with_its_log_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(under_test, "QUIET", timedelta())
    monkeypatch.setattr(under_test, "PAUSE", 0.0)
    await stage.pod("a", "Succeeded")
    await stage.pod("b", "Running")
    async with archiving(stage):
        await eventually(lambda: stage.kept("a"))
        await eventually(lambda: not_held(stage, "a"))
        assert await stage.held("b")
    assert stage.kept("b") is None


async def not_held(stage: Stage, name: str) -> bool:
    return not await stage.held(name)


async def test_the_logs_of_a_deleted_run_are_not_kept(stage: Stage):
    await stage.pod("a", "Succeeded")
    stage.runs.clear()
    async with archiving(stage):
        await delete(stage, "a", 0)
        await eventually(lambda: stage.gone("a"))
    assert stage.kept("a") is None


async def test_a_node_that_is_away_is_waited_for_and_one_that_is_gone_is_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    await stage.pod("a", "Failed", None)
    async with archiving(stage) as controller:
        await delete(stage, "a", 0)
        await eventually(lambda: controller.outcomes.failed)
        assert await stage.held("a")
        stage.said["a"] = b"back\n"
        await eventually(lambda: stage.gone("a"))
        assert stage.kept("a") == b"back\n"
        monkeypatch.setattr(under_test, "PATIENCE", timedelta())
        await stage.pod("b", "Failed", None)
        await delete(stage, "b", 0)
        await eventually(lambda: stage.gone("b"))
    assert stage.kept("b") is None
