"""The status endpoint over the real API server with its tokens, and what reports make of a job's status."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.playing import NAMESPACE, World, a_pod, a_world
from tests.training.jobs.builders import BY_NAME, a_job

from ketch.kube.codec import decode
from ketch.kube.errors import APIError, Forbidden, Invalid, NotFound, TooLarge
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import ServiceAccount
from ketch.kube.types.pods import Pod
from ketch.training.jobs.types import PyTorchJob
from ketch.training.progress.merging import measured, reported
from ketch.training.progress.recorder import ProgressRecorder
from ketch.training.progress.server import LONGEST_BODY, StatusServer, understood
from ketch.training.progress.types import PodUsage, Progress, RankStatus, Report, TrainerStatus
from ketch.training.reporters import rank_in_job, rank_in_trainjob, reporting
from ketch.training.setup import setup
from ketch.training.trainjobs.types import TrainJob

PATH = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs/job/status"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Door:
    """The endpoint, and a pod's way to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.server = StatusServer(
            world.client, ProgressRecorder(world.client, world.clock), reporting(list(BY_NAME.values()))
        )

    async def token(self, audience: str = PATH.removeprefix("/apis/"), pod: Pod | None = None) -> str:
        spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": 3600}
        if pod is not None:
            spec["boundObjectRef"] = {"kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.world.client.create_subresource(ServiceAccount, "worker", NAMESPACE, "token", body)
        return str(answer["status"]["token"])

    async def post(self, body: Any, token: str | None = None, path: str = PATH) -> Any:
        headers = {"authorization": f"Bearer {await self.token() if token is None else token}"}
        waiting = asyncio.ensure_future(
            self.server.answer(path, headers, body if isinstance(body, bytes) else msgspec.json.encode(body))
        )
        return await waiting


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_world(tmp_path, setup) as world:
        await world.client.create(ServiceAccount(metadata=ObjectMeta(name="worker", namespace=NAMESPACE)))
        raw = {"metadata": {"name": "job", "namespace": NAMESPACE}, "spec": {"runtimeRef": {"name": "nowhere"}}}
        await world.client.create(decode(TrainJob, raw))
        await world.settle()
        yield Door(world)


def a_status(percent: int = 50, **more: Any) -> dict[str, Any]:
    return {"progressPercentage": percent, "lastUpdatedTime": "2026-01-01T00:00:00Z", **more}


async def status(world: World) -> Any:
    job = await world.get(TrainJob, "job")
    assert job is not None
    return job.status


async def test_a_report_is_in_the_jobs_status(door: Door):
    sent = {"trainerStatus": a_status(metrics=[{"name": "loss", "value": "0.5"}])}
    answer = await door.post(sent)
    assert answer["trainerStatus"]["progressPercentage"] == 50
    found = (await status(door.world)).trainer_status
    assert (found.progress_percentage, found.metrics[0].value) == (50, "0.5")
    assert await door.post({}) == {}


async def test_other_paths_are_not_this_doors(door: Door):
    assert door.server.opens("POST", PATH)
    assert not door.server.opens("PUT", PATH)
    assert not door.server.opens("POST", PATH.removesuffix("/status"))
    assert not door.server.opens("POST", PATH.replace("trainjobs", "jobsets"))
    assert door.server.opens("POST", f"/apis/kubeflow.org/v1/namespaces/{NAMESPACE}/pytorchjobs/job/status")


async def test_only_the_jobs_own_token_opens_it(door: Door):
    another = await door.token(PATH.removeprefix("/apis/").replace("/job/", "/another/"))
    for token in ("", "nonsense", another):
        with pytest.raises(Forbidden):
            await door.post({"trainerStatus": a_status()}, token)
    assert (await status(door.world)).trainer_status is None


async def test_a_job_that_is_not_there_is_told(door: Door):
    path = PATH.replace("/job/", "/gone/")
    with pytest.raises(NotFound):
        await door.post({"trainerStatus": a_status()}, await door.token(path.removeprefix("/apis/")), path)


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (b"{", Invalid, "Invalid payload"),
        (b"[]", Invalid, "Expected `object`"),
        ({"trainerStatus": a_status(101)}, Invalid, "trainerStatus.progressPercentage"),
        ({"trainerStatus": a_status(metrics=[{"name": "", "value": "1"}])}, Invalid, "metrics[0].name"),
        ({"trainerStatus": a_status(metrics=[{"name": "x", "value": "1"}] * 257)}, Invalid, "trainerStatus.metrics"),
        ({"trainerStatus": {"progressPercentage": 1}}, Invalid, "lastUpdatedTime is required"),
        ({"rank": {"rank": 0, "cpu": "much"}}, Invalid, "much"),
        (b" " * (LONGEST_BODY + 1), TooLarge, "at most 65536"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_its_field(body: Any, error: type[APIError], words: str):
    with pytest.raises(error) as refused:
        understood(body if isinstance(body, bytes) else msgspec.json.encode(body))
    assert words in refused.value.message


async def test_ranks_are_told_apart_and_rank_0_speaks_for_the_job(door: Door):
    pod = await door.world.client.create(a_pod("node", service_account_name="worker"))
    token = await door.token(pod=pod)
    for rank, percent in ((1, 20), (0, 30), (1, 40)):
        body = {"trainerStatus": a_status(percent), "rank": {"rank": rank, "step": percent, "worldSize": 2, "pod": "x"}}
        await asyncio.gather(door.post(body, token), door.world.clock.advance(1))
    found = await status(door.world)
    assert [(each.rank, each.step, each.pod) for each in found.ranks] == [(0, 30, "node"), (1, 40, "node")]
    assert found.trainer_status.progress_percentage == 30


async def test_what_comes_together_is_written_together(door: Door):
    token, before = await door.token(), await door.world.revision()
    bodies = [{"trainerStatus": a_status(rank), "rank": {"rank": rank, "step": 1}} for rank in range(50)]
    sending = asyncio.gather(*(door.post(body, token) for body in bodies))
    while not sending.done():
        await door.world.clock.advance(1)
    assert len(await sending) == 50
    assert len((await status(door.world)).ranks) == 50
    assert await door.world.revision() - before < 10


async def test_a_pod_of_a_job_that_does_not_say_its_rank_is_known_by_its_place(door: Door):
    labels = {"batch.kubernetes.io/job-completion-index": "1"}
    pod = await door.world.client.create(a_pod("node", labels=labels, service_account_name="worker"))
    await door.post({"trainerStatus": a_status(10)}, await door.token(pod=pod))
    (rank,) = (await status(door.world)).ranks
    assert (rank.rank, rank.pod, rank.progress_percentage) == (1, "node", 10)


def test_ranks_of_a_job_by_type_and_number():
    labels = {"training.kubeflow.org/replica-type": "worker", "training.kubeflow.org/replica-index": "1"}
    job = a_job("PyTorchJob", Master=1, Worker=2, spec={"nprocPerNode": "4"})
    assert rank_in_job(BY_NAME["PyTorchJob"], job, a_pod(labels=labels)) == 8
    assert rank_in_job(BY_NAME["PyTorchJob"], job, a_pod()) is None
    trainjob = decode(TrainJob, {"metadata": {"name": "job"}, "spec": {"trainer": {"numProcPerNode": 2}}})
    assert rank_in_trainjob(trainjob, a_pod(labels={"batch.kubernetes.io/job-completion-index": "3"})) == 6


def test_ranks_that_a_smaller_job_no_longer_has_are_gone():
    progress = Progress(ranks=tuple(RankStatus(rank=rank) for rank in range(4)))
    after = reported(progress, Report(rank=RankStatus(rank=0, world_size=2)), "pod", None)
    assert [each.rank for each in after.ranks] == [0, 1]


def test_anyone_speaks_for_the_job_until_rank_0_does():
    told = TrainerStatus(progress_percentage=5, last_updated_time=NOW)
    first = reported(Progress(), Report(trainer_status=told, rank=RankStatus(rank=3)), "pod", None)
    assert first.trainer_status == told
    lead = TrainerStatus(progress_percentage=6, last_updated_time=NOW)
    second = reported(first, Report(trainer_status=lead, rank=RankStatus(rank=0)), "pod", None)
    third = reported(second, Report(trainer_status=told, rank=RankStatus(rank=3)), "pod", None)
    assert third.trainer_status == lead


def test_use_is_replaced_as_a_whole():
    before = Progress(usage=(PodUsage(pod="a"), PodUsage(pod="b")), ranks=(RankStatus(rank=0),))
    after = measured(before, [PodUsage(pod="c", cpu="100m")])
    assert after.usage == (PodUsage(pod="c", cpu="100m"),)
    assert after.ranks == before.ranks


async def test_a_v1_job_has_the_same_status(door: Door):
    await door.world.client.create(a_job("PyTorchJob", Master=1))
    await door.world.settle()
    path = f"/apis/kubeflow.org/v1/namespaces/{NAMESPACE}/pytorchjobs/job/status"
    await door.post({"trainerStatus": a_status(70)}, await door.token(path.removeprefix("/apis/")), path)
    job = await door.world.get(PyTorchJob, "job")
    assert job is not None
    assert job.status.trainer_status is not None
    assert job.status.trainer_status.progress_percentage == 70
    assert job.status.conditions  # what its controller wrote stands beside it
    await door.world.play_all()
    job = await door.world.get(PyTorchJob, "job")
    assert job is not None
    assert job.status.trainer_status is not None
