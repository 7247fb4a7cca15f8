"""What a failure means, by table: for every kind, restart policy and way to end. Pods are played.

What only real processes show (signals, memory, programs of the platform that are killed) is in ``tests/e2e/training``.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world
from tests.training.refusals import LED, REPLICAS, job, replica

from ketch.kube.manager import Manager
from ketch.kube.types.batch import Job
from ketch.kube.types.pods import Pod
from ketch.local.workloads.collection import garbage
from ketch.local.workloads.collection.monitor import Monitor
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.jobs.framework import JobKind
from ketch.training.jobs.kinds import KINDS
from ketch.training.setup import admissions, setup

BY_NAME: dict[str, JobKind[Any]] = {kind.name: kind for kind in KINDS}
FAILED, RESTARTING, RUNNING = "Failed", "Restarting", "Running"
PERMANENT, RETRYABLE = (1, 2, 127), (128, 130, 137, 139, 143, 255)

TABLE = {
    **{("Never", code): FAILED for code in (*PERMANENT, *RETRYABLE)},
    **{("OnFailure", code): RESTARTING for code in (1, 137)},
    **{("Always", code): RESTARTING for code in (1, 137)},
    **{("ExitCode", code): FAILED for code in PERMANENT},
    **{("ExitCode", code): RESTARTING for code in RETRYABLE},
}
"""By restart policy and exit code of one worker: what becomes of the job."""

DEFAULTS = {"TFJob": FAILED, "PyTorchJob": RESTARTING, "XGBoostJob": FAILED, "PaddleJob": RESTARTING, "JAXJob": FAILED}
"""What a failed worker means where nothing is said."""


def collect_garbage(manager: Manager) -> None:
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    manager.add(monitor.run)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, jobs.setup, setup, collect_garbage, admissions=admissions()) as made:
        yield made


def two_workers(kind: str, name: str, policy: str = "", **run_policy: Any) -> dict[str, Any]:
    """A job of two workers, led by a master where the kind has one."""
    worker = replica(kind, 2) | ({"restartPolicy": policy} if policy else {})
    lead = {"Master": replica(kind, 1) | ({"restartPolicy": policy} if policy else {})} if kind in LED else {}
    return job(kind, name, {"runPolicy": run_policy}, **lead, Worker=worker)


async def post(world: World, kind: str, *bodies: dict[str, Any]) -> None:
    for body in bodies:
        await world.client.request("POST", f"/apis/kubeflow.org/v1/namespaces/default/{kind.lower()}s", body=body)
    await world.settle()


async def state(world: World, kind: str, name: str) -> str:
    """The newest condition that holds."""
    found = await world.get(BY_NAME[kind].kind, name)
    assert found is not None
    return [each.type for each in found.status.conditions if each.status == "True"][-1]


async def fail(world: World, name: str, code: int, **status: Any) -> Pod:
    pod = await world.get(Pod, name)
    assert pod is not None
    await world.play(pod, "Failed", exit_code=code, **status)
    await world.settle()
    return pod


@pytest.mark.parametrize("kind", REPLICAS)
async def test_one_worker_s_end_means_what_its_restart_policy_says(world: World, kind: str):
    names = {row: f"j{number}" for number, row in enumerate(TABLE)}
    await post(world, kind, *(two_workers(kind, name, policy) for (policy, _), name in names.items()))
    await post(world, kind, two_workers(kind, "plain"))
    await world.play_all("Running")
    for (policy, code), name in names.items():
        pod = await fail(world, f"{name}-worker-1", code)
        assert await state(world, kind, name) == TABLE[policy, code], (policy, code)
        again = await world.get(Pod, f"{name}-worker-1")
        assert again is not None
        replaced = again.metadata.uid != pod.metadata.uid
        assert replaced is (TABLE[policy, code] == RESTARTING), (policy, code)
    await fail(world, "plain-worker-1", 1)
    assert await state(world, kind, "plain") == DEFAULTS[kind]
    await world.play_all("Running")  # what was replaced is back
    for row, name in names.items():
        assert await state(world, kind, name) == (RUNNING if TABLE[row] == RESTARTING else FAILED), row


@pytest.mark.parametrize("kind", REPLICAS)
async def test_memory_that_is_too_much_is_a_signal_s_end(world: World, kind: str):
    await post(world, kind, two_workers(kind, "again", "ExitCode"), two_workers(kind, "over", "Never"))
    await world.play_all("Running")
    for name, end in (("again", RESTARTING), ("over", FAILED)):
        await fail(world, f"{name}-worker-0", 137, reason="OOMKilled")
        assert await state(world, kind, name) == end


@pytest.mark.parametrize(("limit", "restarts"), [(0, 0), (1, 1), (2, 2)])
async def test_of_pods_that_are_replaced_as_many_may_fail_as_the_limit_says(world: World, limit: int, restarts: int):
    await post(world, "TFJob", two_workers("TFJob", "job", "ExitCode", backoffLimit=limit))
    for _ in range(restarts):
        await world.play_all("Running")
        await fail(world, "job-worker-1", 137)
        assert await state(world, "TFJob", "job") == RESTARTING
        await world.play_all("Running")
        assert await state(world, "TFJob", "job") == RUNNING  # the last one that may has its turn, too
    await world.play_all("Running")
    last = await fail(world, "job-worker-1", 137)
    assert await state(world, "TFJob", "job") == FAILED
    kept = await world.get(Pod, "job-worker-1")
    assert kept is not None
    assert kept.metadata.uid == last.metadata.uid  # for its log


@pytest.mark.parametrize(("limit", "last"), [(0, 1), (1, 1), (3, 3)])
async def test_of_restarts_in_place_the_limit_s_is_the_last(world: World, limit: int, last: int):
    await post(world, "PyTorchJob", two_workers("PyTorchJob", "job", "OnFailure", backoffLimit=limit))
    await world.play_all("Running")
    pod = await world.get(Pod, "job-worker-0")
    assert pod is not None
    for count in range(1, last + 1):
        assert await state(world, "PyTorchJob", "job") == RUNNING
        await world.play(pod, "Running", restarts=count)
        await world.settle()
    assert await state(world, "PyTorchJob", "job") == FAILED
    assert await world.all(Pod) == []


@pytest.mark.parametrize("kind", REPLICAS)
async def test_the_deadline_counts_while_it_is_active(world: World, kind: str):
    await post(world, kind, two_workers(kind, "job", activeDeadlineSeconds=60))
    await world.play_all("Running")
    await world.pass_time(40)
    await suspend(world, kind, "job", on=True)
    await world.pass_time(100)
    assert await state(world, kind, "job") == "Suspended"
    await suspend(world, kind, "job", on=False)
    await world.play_all("Running")
    await world.pass_time(59)
    assert await state(world, kind, "job") == RUNNING
    await world.pass_time(2)
    assert await state(world, kind, "job") == FAILED
    assert await world.all(Pod) == []


async def suspend(world: World, kind: str, name: str, *, on: bool) -> None:
    await world.edit(BY_NAME[kind].kind, name, {"spec": {"runPolicy": {"suspend": on}}})
    await world.settle()


@pytest.mark.parametrize("kind", REPLICAS)
async def test_suspended_in_the_middle_it_begins_anew(world: World, kind: str):
    await post(world, kind, two_workers(kind, "job", "ExitCode"))
    await world.play_all("Running")
    before = {pod.metadata.name: pod.metadata.uid for pod in await world.all(Pod)}
    await fail(world, "job-worker-0", 137)
    await suspend(world, kind, "job", on=True)
    assert await world.all(Pod) == []
    found = await world.get(BY_NAME[kind].kind, "job")
    assert found is not None
    assert {(each.active, each.failed) for each in found.status.replica_statuses.values()} == {(0, 0)}
    await suspend(world, kind, "job", on=False)
    await world.play_all("Running")
    after = {pod.metadata.name: pod.metadata.uid for pod in await world.all(Pod)}
    assert set(before) == set(after)
    assert not set(before.values()) & set(after.values())
    assert await state(world, kind, "job") == RUNNING


@pytest.mark.parametrize("kind", REPLICAS)
async def test_a_controller_that_begins_anew_goes_on_where_the_other_was(tmp_path: Path, kind: str):
    """Killed between any two writes it has lost nothing: all that it knows is in the objects."""
    async with a_world(tmp_path, setup, admissions=admissions()) as first:
        await post(first, kind, two_workers(kind, "job", "ExitCode", backoffLimit=1))
        await first.play_all("Running")
        await fail(first, "job-worker-1", 137)
        before = {pod.metadata.name: pod.metadata.uid for pod in await first.all(Pod)}
    async with a_world(tmp_path, setup, admissions=admissions()) as second:
        await second.settle()
        assert {pod.metadata.name: pod.metadata.uid for pod in await second.all(Pod)} == before
        await second.play_all("Running")
        assert await state(second, kind, "job") == RUNNING
        await fail(second, "job-worker-1", 137)
        assert await state(second, kind, "job") == FAILED  # the first failure was not forgotten


JOB_ENDS = {
    "FailedJobs": ({}, 0),
    "ReachedMaxRestarts": ({"maxRestarts": 1}, 1),
    "FailJobSetFailurePolicyAction": ({"maxRestarts": 9, "rules": [{"action": "FailJobSet"}]}, 0),
}


@pytest.mark.parametrize(("reason", "policy", "restarts"), [(name, *row) for name, row in JOB_ENDS.items()])
async def test_trainjobs_fail_as_their_runtime_s_policy_says(
    world: World, reason: str, policy: dict[str, Any], restarts: int
):
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "node", "image": "busybox"}]}}
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    step = {
        "name": "node",
        "template": {"metadata": {"labels": labels}, "spec": {"backoffLimit": 0, "template": pod}},
    }
    jobset = {"replicatedJobs": [step]} | ({"failurePolicy": policy} if policy else {})
    group = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default"
    runtime = {"metadata": {"name": "r"}, "spec": {"mlPolicy": {"numNodes": 2}, "template": {"spec": jobset}}}
    await world.client.request("POST", f"{group}/trainingruntimes", body=runtime)
    reference = {"name": "r", "kind": "TrainingRuntime"}
    body = {"metadata": {"name": "job"}, "spec": {"runtimeRef": reference}}
    await world.client.request("POST", f"{group}/trainjobs", body=body)
    await world.settle()
    for attempt in range(restarts + 1):

        async def two(number: int = attempt) -> bool:
            """The pods of this attempt: those of the last one, which are about to go, are let go."""
            found = await world.all(Pod)
            current = [each for each in found if attempt_of(each) == number]
            gone = [each for each in await world.all(Job) if each.metadata.deletion_timestamp]
            return len(current) == 2 and not gone

        await world.until(two)
        (first, _) = [each for each in await world.all(Pod) if attempt_of(each) == attempt]
        await world.play(first, "Failed", exit_code=1)
        await world.settle()
    found = await world.client.request("GET", f"{group}/trainjobs/job")
    (condition,) = found["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Failed", reason)


def attempt_of(pod: Pod) -> int:
    return int(pod.metadata.labels["jobset.sigs.k8s.io/restart-attempt"])
