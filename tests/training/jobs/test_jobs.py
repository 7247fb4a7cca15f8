"""Jobs over the real API server: what exists, what is reported, and how they end. Pods are played."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world
from tests.training.jobs.builders import BY_NAME, a_job, a_replica

from ketch.kube.errors import Invalid
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import Service
from ketch.kube.types.pods import Pod
from ketch.local.workloads.collection import garbage
from ketch.local.workloads.collection.monitor import Monitor
from ketch.training.jobs.types import JAXJob, PyTorchJob, TFJob
from ketch.training.setup import admissions, setup

KEY = ObjectKey("default", "job")


def collect_garbage(manager: Manager) -> None:
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    manager.add(monitor.run)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, setup, collect_garbage, admissions=admissions()) as made:
        yield made


async def create(world: World, job: Any) -> None:
    await world.client.create(job)
    await world.settle()


async def conditions(world: World, kind: Any = PyTorchJob) -> list[tuple[str, str]]:
    job = await world.get(kind, "job")
    assert job is not None
    return [(each.type, each.status) for each in job.status.conditions]


async def names(world: World, kind: Any = Pod) -> list[str]:
    return [each.metadata.name for each in await world.all(kind)]


async def test_each_replica_gets_a_pod_and_a_headless_service(world: World):
    await create(world, a_job("PyTorchJob", Master=1, Worker=2))
    expected = ["job-master-0", "job-worker-0", "job-worker-1"]
    assert await names(world) == expected
    services = [each for each in await world.all(Service) if each.metadata.name != "kubernetes"]
    assert [each.metadata.name for each in services] == expected
    assert {each.spec.cluster_ip for each in services} == {"None"}
    pod = await world.get(Pod, "job-worker-1")
    assert pod is not None
    assert pod.metadata.labels == {
        "training.kubeflow.org/operator-name": "pytorchjob-controller",
        "training.kubeflow.org/job-name": "job",
        "training.kubeflow.org/replica-type": "worker",
        "training.kubeflow.org/replica-index": "1",
    }
    master = await world.get(Pod, "job-master-0")
    assert master is not None
    assert master.metadata.labels["training.kubeflow.org/job-role"] == "master"
    assert master.spec.restart_policy == "OnFailure"


async def test_a_job_runs_and_succeeds_with_its_master(world: World):
    await create(world, a_job("PyTorchJob", Master=1, Worker=1))
    assert await conditions(world) == [("Created", "True")]
    await world.play_all("Running")
    assert await conditions(world) == [("Created", "True"), ("Running", "True")]
    master = await world.get(Pod, "job-master-0")
    assert master is not None
    await world.play(master, "Succeeded")
    await world.settle()
    assert await conditions(world) == [("Created", "True"), ("Running", "False"), ("Succeeded", "True")]
    job = await world.get(PyTorchJob, "job")
    assert job is not None
    assert job.status.completion_time is not None
    assert {role: (each.active, each.succeeded) for role, each in job.status.replica_statuses.items()} == {
        "Master": (0, 1),
        "Worker": (0, 1),
    }
    assert job.status.conditions[-1].reason == "PyTorchJobSucceeded"
    assert len(await names(world)) == 2  # kept for their logs
    assert await world.settles("training-pytorchjobs", KEY)


async def test_a_lost_pod_comes_again_and_one_too_many_goes(world: World):
    await create(world, a_job("JAXJob", Worker=3))
    await world.delete(Pod, "job-worker-1")
    await world.settle()
    assert await names(world) == ["job-worker-0", "job-worker-1", "job-worker-2"]
    await world.edit(JAXJob, "job", {"spec": {"jaxReplicaSpecs": {"Worker": {"replicas": 1}}}})
    await world.settle()
    assert await names(world) == ["job-worker-0"]
    assert [name for name in await names(world, Service) if name != "kubernetes"] == ["job-worker-0"]


@pytest.mark.parametrize(
    ("policy", "code", "end"),
    [
        pytest.param("Never", 1, "Failed", id="never: any failure is final"),
        *(pytest.param("ExitCode", code, "Failed", id=f"exit code: {code} is final") for code in (1, 2, 126, 127)),
        *(
            pytest.param("ExitCode", code, "Restarting", id=f"exit code: {code} is tried again")
            for code in (128, 130, 137, 138, 139, 143, 255)
        ),
        pytest.param("Always", 1, "Restarting", id="always: so is one that should never end"),
        pytest.param("OnFailure", 1, "Restarting", id="on failure: a pod that failed as a whole is replaced"),
    ],
)
async def test_a_failed_pod_means_what_its_restart_policy_says(world: World, policy: str, code: int, end: str):
    worker = a_replica(BY_NAME["TFJob"], 2, policy)
    await create(world, a_job("TFJob", Worker=worker))
    await world.play_all("Running")
    pod = await world.get(Pod, "job-worker-1")
    assert pod is not None
    await world.play(pod, "Failed", exit_code=code)
    await world.settle()
    assert (await conditions(world, TFJob))[-1] == (end, "True")
    again = await world.get(Pod, "job-worker-1")
    assert again is not None
    assert (again.metadata.uid != pod.metadata.uid) is (end == "Restarting")
    await world.play_all("Running")
    assert (await conditions(world, TFJob))[-1] == ("Running" if end == "Restarting" else end, "True")


async def test_exits_and_overridden_policies_are_told(world: World):
    worker = a_replica(BY_NAME["TFJob"], 2, "ExitCode")
    worker["template"]["spec"]["restartPolicy"] = "Always"
    await create(world, a_job("TFJob", Worker=worker))
    (told,) = await world.events("SetPodTemplateRestartPolicy")
    assert told == "Restart policy in pod template overridden by restart policy in replica spec"
    pod = await world.get(Pod, "job-worker-1")
    assert pod is not None
    assert pod.spec.restart_policy == "Never"
    await world.play(pod, "Failed", exit_code=137)
    await world.settle()
    assert await world.events("ExitedWithCode") == ["Pod: default.job-worker-1 exited with code 137"]
    assert len(await world.events("TFJobRestarting")) == 1
    assert await world.events("SuccessfulDeletePod") == ["Deleted pod: job-worker-1"]


async def test_the_backoff_limit_ends_what_fails_again_and_again(world: World):
    worker = a_replica(BY_NAME["TFJob"], 1, "ExitCode")
    await create(world, a_job("TFJob", run_policy={"backoffLimit": 2}, Worker=worker))
    for _ in range(3):
        await world.play_all("Running")
        await world.play_all("Failed", exit_code=137)
    job = await world.get(TFJob, "job")
    assert job is not None
    assert job.status.conditions[-1].type == "Failed"
    assert "backoff limit" in job.status.conditions[-1].message
    assert job.status.replica_statuses["Worker"].restarts == 2


@pytest.mark.parametrize("elastic", [False, True])
async def test_who_begins_again_after_others_have_ended_is_told_of_once(world: World, elastic: bool):
    spec = {"elasticPolicy": {"minReplicas": 1}} if elastic else {}
    await create(world, a_job("PyTorchJob", Master=1, Worker=2, spec=spec))
    await world.play_all("Running")
    worker, master = await world.get(Pod, "job-worker-0"), await world.get(Pod, "job-master-0")
    assert worker is not None
    assert master is not None
    await world.play(worker, "Succeeded")
    await world.pass_time(10)
    await world.play(master, "Running", restarts=1)
    await world.settle()
    told = await world.events("PeersHaveEnded")
    assert [each.partition(" after")[0] for each in told] == ([] if elastic else ["job-master-0 began again"])
    await world.pass_time(10)
    assert await world.settles("training-pytorchjobs", KEY)


async def test_restarts_in_place_count_as_well(world: World):
    await create(world, a_job("PyTorchJob", run_policy={"backoffLimit": 3}, Worker=1))
    await world.play_all("Running", restarts=2)
    assert (await conditions(world))[-1] == ("Running", "True")
    pod = await world.get(Pod, "job-worker-0")
    assert pod is not None
    await world.play(pod, "Running", restarts=3)
    await world.settle()
    assert (await conditions(world))[-1] == ("Failed", "True")
    assert await names(world) == []  # nothing of it runs on


async def test_the_deadline_ends_it(world: World):
    await create(world, a_job("PyTorchJob", run_policy={"activeDeadlineSeconds": 60}, Worker=1))
    await world.play_all("Running")
    await world.pass_time(59)
    assert (await conditions(world))[-1] == ("Running", "True")
    await world.pass_time(2)
    job = await world.get(PyTorchJob, "job")
    assert job is not None
    assert "longer than specified deadline" in job.status.conditions[-1].message
    assert await names(world) == []


async def test_suspended_it_has_no_pods_and_begins_anew_when_resumed(world: World):
    await create(world, a_job("PyTorchJob", Worker=2))
    await world.play_all("Running")
    await world.edit(PyTorchJob, "job", {"spec": {"runPolicy": {"suspend": True}}})
    await world.settle()
    assert await names(world) == []
    assert await conditions(world) == [("Created", "True"), ("Running", "False"), ("Suspended", "True")]
    job = await world.get(PyTorchJob, "job")
    assert job is not None
    assert job.status.start_time is None
    await world.pass_time(30)
    await world.edit(PyTorchJob, "job", {"spec": {"runPolicy": {"suspend": False}}})
    await world.settle()
    await world.play_all("Running")
    assert await conditions(world) == [("Created", "True"), ("Suspended", "False"), ("Running", "True")]


@pytest.mark.parametrize(
    ("policy", "left"),
    [("None", ["job-master-0", "job-worker-0"]), ("Running", ["job-master-0"]), ("All", [])],
)
async def test_what_is_left_is_what_the_policy_says(world: World, policy: str, left: list[str]):
    await create(world, a_job("PyTorchJob", run_policy={"cleanPodPolicy": policy}, Master=1, Worker=1))
    await world.play_all("Running")
    master = await world.get(Pod, "job-master-0")
    assert master is not None
    await world.play(master, "Succeeded")
    await world.settle()
    assert await names(world) == left
    job = await world.get(PyTorchJob, "job")
    assert job is not None
    assert job.status.conditions[-1].type == "Succeeded"
    assert await world.settles("training-pytorchjobs", KEY)


async def test_its_time_after_the_end_is_over(world: World):
    await create(world, a_job("JAXJob", run_policy={"ttlSecondsAfterFinished": 100}, Worker=1))
    await world.play_all("Running")
    await world.play_all("Succeeded")
    await world.pass_time(99)
    assert await world.get(JAXJob, "job") is not None
    await world.pass_time(2)
    await world.until(lambda: _gone(world))


async def _gone(world: World) -> bool:
    return await world.get(JAXJob, "job") is None and await names(world) == []


async def test_another_manager_s_job_is_left_alone(world: World):
    await create(world, a_job("JAXJob", run_policy={"managedBy": "kueue.x-k8s.io/multikueue"}, Worker=1))
    assert await names(world) == []


async def test_a_deleted_job_takes_all_along(world: World):
    await create(world, a_job("JAXJob", Worker=2))
    await world.delete(JAXJob, "job")
    await world.until(lambda: _gone(world))


async def test_a_name_that_is_taken_is_told(world: World):
    from tests.playing import a_pod  # noqa: PLC0415

    await world.client.create(a_pod("job-worker-0"))
    await create(world, a_job("JAXJob", Worker=1))
    assert await world.events("FailedCreatePod") == ["Error creating: pod job-worker-0 exists and is not this job's"]


@pytest.mark.parametrize(
    ("job", "field"),
    [
        pytest.param(a_job("PyTorchJob", Master=2), "spec.pytorchReplicaSpecs[Master].replicas", id="two masters"),
        pytest.param(a_job("XGBoostJob", Worker=2), "spec.xgbReplicaSpecs[Master]", id="no master"),
        pytest.param(a_job("PyTorchJob"), "spec.pytorchReplicaSpecs", id="no replicas"),
        pytest.param(a_job("PyTorchJob", Captain=1), "spec.pytorchReplicaSpecs[Captain]", id="unknown type"),
        pytest.param(a_job("TFJob", Chief=1, Master=1), "spec.tfReplicaSpecs", id="two leaders"),
        pytest.param(a_job("JAXJob", name="1job", Worker=1), "metadata.name", id="a name that no service can have"),
        pytest.param(a_job("JAXJob", name="j" * 60, Worker=1), "metadata.name", id="too long for its replicas"),
        pytest.param(
            a_job("JAXJob", Worker=a_replica(BY_NAME["JAXJob"], name="other")),
            "spec.jaxReplicaSpecs[Worker].template.spec.containers",
            id="no container of the kind's name",
        ),
        pytest.param(
            a_job("PyTorchJob", Worker=1, spec={"nprocPerNode": "many"}), "spec.nprocPerNode", id="processes in words"
        ),
        pytest.param(
            a_job("PyTorchJob", Worker=1, spec={"elasticPolicy": {"minReplicas": 3, "maxReplicas": 2}}),
            "spec.elasticPolicy.minReplicas",
            id="more at least than at most",
        ),
        pytest.param(
            a_job("JAXJob", run_policy={"managedBy": "me"}, Worker=1), "spec.runPolicy.managedBy", id="unknown manager"
        ),
        pytest.param(
            a_job("JAXJob", run_policy={"backoffLimit": -1}, Worker=1), "spec.runPolicy.backoffLimit", id="below zero"
        ),
    ],
)
async def test_a_wrong_job_is_refused_by_its_field(world: World, job: Any, field: str):
    with pytest.raises(Invalid) as caught:
        await world.client.create(job)
    assert [cause.field for cause in caught.value.details.causes] == [field]
