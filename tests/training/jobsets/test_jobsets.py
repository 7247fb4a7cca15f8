"""JobSets over the real API server with the real Job controller: what exists, what is reported. Pods are played."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world

from ketch.kube.codec import decode
from ketch.kube.errors import Invalid
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.types.batch import Job
from ketch.kube.types.core import PersistentVolumeClaim, Service
from ketch.kube.types.pods import Pod
from ketch.local.workloads.collection import garbage
from ketch.local.workloads.collection.monitor import Monitor
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.jobsets.types import JobSet
from ketch.training.setup import admissions, setup

KEY = ObjectKey("default", "set")


def collect_garbage(manager: Manager) -> None:
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    manager.add(monitor.run)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, jobs.setup, setup, collect_garbage, admissions=admissions()) as made:
        yield made


def replicated(name: str, replicas: int = 1, pods: int = 1, **more: Any) -> dict[str, Any]:
    """A replicated job of Jobs that fail with their first pod."""
    container = {"name": "main", "image": "python:3.11", "command": ["true"], **more.pop("container", {})}
    spec = {"parallelism": pods, "completions": pods, "backoffLimit": 0}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    return {"name": name, "replicas": replicas, "template": {"spec": {**spec, "template": template}}, **more}


def a_jobset(*jobs_: dict[str, Any], name: str = "set", **spec: Any) -> JobSet:
    raw = {"metadata": {"name": name, "namespace": "default"}, "spec": {"replicatedJobs": list(jobs_), **spec}}
    return decode(JobSet, raw)


async def create(world: World, jobset: JobSet) -> None:
    await world.client.create(jobset)
    await world.settle()


async def the_set(world: World) -> JobSet:
    found = await world.get(JobSet, "set")
    assert found is not None
    return found


async def job_names(world: World) -> list[str]:
    return [each.metadata.name for each in await world.all(Job)]


async def play(world: World, job: str, phase: str, **status: Any) -> None:
    """All pods of a Job reach a phase."""
    for pod in await world.all(Pod, label_selector=f"batch.kubernetes.io/job-name={job}"):
        if pod.status.phase not in ("Succeeded", "Failed"):
            await world.play(pod, phase, **status)
    await world.settle()


async def conditions(world: World) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in (await the_set(world)).status.conditions}


async def test_each_replica_becomes_a_job_whose_pods_have_names(world: World):
    await create(world, a_jobset(replicated("a", 2, 2), replicated("b")))
    assert await job_names(world) == ["set-a-0", "set-a-1", "set-b-0"]
    pods = {f"{each.spec.hostname}.{each.spec.subdomain}" for each in await world.all(Pod)}
    assert pods == {"set-a-0-0.set", "set-a-0-1.set", "set-a-1-0.set", "set-a-1-1.set", "set-b-0-0.set"}
    service = await world.get(Service, "set")
    assert service is not None
    assert (service.spec.cluster_ip, service.spec.publish_not_ready_addresses) == ("None", True)
    job = await world.get(Job, "set-a-1")
    assert job is not None
    marks = {name.partition("/")[2]: value for name, value in job.metadata.labels.items() if "jobset" in name}
    assert {name: marks[name] for name in marks if name not in ("jobset-uid", "job-key")} == {
        "jobset-name": "set",
        "replicatedjob-name": "a",
        "replicatedjob-replicas": "2",
        "global-replicas": "3",
        "restart-attempt": "0",
        "job-index": "1",
        "job-global-index": "1",
        "group-name": "default",
        "group-replicas": "3",
        "job-group-index": "1",
    }
    pod = next(each for each in await world.all(Pod) if each.spec.hostname == "set-b-0-0")
    assert pod.metadata.annotations["jobset.sigs.k8s.io/job-global-index"] == "2"


async def test_it_completes_when_all_jobs_have(world: World):
    await create(world, a_jobset(replicated("a", 2)))
    await play(world, "set-a-0", "Succeeded")
    assert await conditions(world) == {}
    await play(world, "set-a-1", "Succeeded")
    assert await conditions(world) == {"Completed": ("True", "AllJobsCompleted")}
    assert (await the_set(world)).status.terminal_state == "Completed"
    assert await world.settles("training-jobsets", KEY)


async def test_any_of_the_targets_may_be_enough_and_the_rest_is_ended(world: World):
    policy = {"operator": "Any", "targetReplicatedJobs": ["leader"]}
    await create(world, a_jobset(replicated("leader"), replicated("worker"), successPolicy=policy))
    await play(world, "set-worker-0", "Running")
    await play(world, "set-leader-0", "Succeeded")
    assert await conditions(world) == {"Completed": ("True", "AllJobsCompleted")}
    await world.until(lambda: _only(world, "set-leader-0"))


async def _only(world: World, *names: str) -> bool:
    return await job_names(world) == list(names)


async def test_a_failed_job_fails_it(world: World):
    await create(world, a_jobset(replicated("a", 2)))
    await play(world, "set-a-0", "Running")
    await play(world, "set-a-1", "Failed")
    assert await conditions(world) == {"Failed": ("True", "FailedJobs")}
    message = (await the_set(world)).status.conditions[0].message
    assert message == "jobset failed due to one or more job failures (first failed job: set-a-1)"
    await world.until(lambda: _only(world, "set-a-1"))


async def test_it_begins_again_as_often_as_it_may(world: World):
    await create(world, a_jobset(replicated("a", 2), failurePolicy={"maxRestarts": 1}))
    await play(world, "set-a-0", "Running")
    await play(world, "set-a-1", "Failed")
    await world.until(lambda: _attempt(world, "1"))
    status = (await the_set(world)).status
    assert (status.restarts, status.restarts_count_towards_max) == (1, 1)
    await play(world, "set-a-1", "Failed")
    assert await conditions(world) == {"Failed": ("True", "ReachedMaxRestarts")}


async def _attempt(world: World, number: str) -> bool:
    found = [each.metadata.labels["jobset.sigs.k8s.io/restart-attempt"] for each in await world.all(Job)]
    return found == [number, number] and len(await world.all(Pod)) == 2


async def test_rules_decide_by_reason_and_target(world: World):
    rules = [
        {"action": "FailJobSet", "onJobFailureReasons": ["BackoffLimitExceeded"], "targetReplicatedJobs": ["b"]},
        {"action": "RestartJobSetAndIgnoreMaxRestarts"},
    ]
    await create(world, a_jobset(replicated("a"), replicated("b"), failurePolicy={"maxRestarts": 0, "rules": rules}))
    await play(world, "set-a-0", "Failed")
    await world.until(lambda: _attempt(world, "1"))
    assert (await the_set(world)).status.restarts_count_towards_max == 0
    await play(world, "set-b-0", "Failed")
    assert await conditions(world) == {"Failed": ("True", "FailJobSetFailurePolicyAction")}


async def test_those_that_depend_wait(world: World):
    first, second = replicated("first"), replicated("second", dependsOn=[{"name": "first", "status": "Ready"}])
    third = replicated("third", dependsOn=[{"name": "second", "status": "Complete"}])
    await create(world, a_jobset(first, second, third))
    assert await job_names(world) == ["set-first-0"]
    await play(world, "set-first-0", "Running")
    assert await job_names(world) == ["set-first-0", "set-second-0"]
    await play(world, "set-second-0", "Running")
    assert await job_names(world) == ["set-first-0", "set-second-0"]
    await play(world, "set-second-0", "Succeeded")
    assert await job_names(world) == ["set-first-0", "set-second-0", "set-third-0"]


async def test_in_order_each_waits_for_the_one_before(world: World):
    policy = {"startupPolicyOrder": "InOrder"}
    await create(world, a_jobset(replicated("first"), replicated("second"), startupPolicy=policy))
    assert await job_names(world) == ["set-first-0"]
    assert (await conditions(world))["StartupPolicyInProgress"][0] == "True"
    await play(world, "set-first-0", "Running")
    await play(world, "set-second-0", "Running")
    assert {name: status for name, (status, _) in (await conditions(world)).items()} == {
        "StartupPolicyInProgress": "False",
        "StartupPolicyCompleted": "True",
    }


async def test_suspended_it_waits_and_resumed_it_runs(world: World):
    await create(world, a_jobset(replicated("a", 2), suspend=True))
    assert await job_names(world) == ["set-a-0", "set-a-1"]
    assert await world.all(Pod) == []
    assert await conditions(world) == {"Suspended": ("True", "SuspendedJobs")}
    await world.edit(JobSet, "set", {"spec": {"suspend": False}})
    await world.settle()
    assert len(await world.all(Pod)) == 2
    assert await conditions(world) == {"Suspended": ("False", "ResumeJobs")}
    await world.edit(JobSet, "set", {"spec": {"suspend": True}})
    await world.settle()
    await world.until(lambda: _no_pods(world))


async def test_what_changes_while_it_is_suspended_counts_when_it_is_resumed(world: World):
    await create(world, a_jobset(replicated("a", 2), suspend=True))
    changed = replicated("a", 2)
    (container,) = changed["template"]["spec"]["template"]["spec"]["containers"]
    container["image"] = "python:3.12"
    await world.edit(JobSet, "set", {"spec": {"replicatedJobs": [changed]}})

    async def made_anew() -> bool:
        images = [each.spec.template.spec.containers[0].image for each in await world.all(Job)]
        return images == ["python:3.12", "python:3.12"]

    await world.until(made_anew)
    assert await world.all(Pod) == []
    await world.edit(JobSet, "set", {"spec": {"suspend": False}})
    await world.settle()
    assert [each.spec.containers[0].image for each in await world.all(Pod)] == ["python:3.12", "python:3.12"]
    assert await world.settles("training-jobsets", ObjectKey("default", "set"))


async def _no_pods(world: World) -> bool:
    return not [each for each in await world.all(Pod) if each.metadata.deletion_timestamp is None]


async def test_everyone_is_told_of_the_coordinator(world: World):
    coordinator = {"replicatedJob": "a", "jobIndex": 1, "podIndex": 0}
    await create(world, a_jobset(replicated("a", 2), coordinator=coordinator))
    labels = [each.metadata.labels["jobset.sigs.k8s.io/coordinator"] for each in await world.all(Pod)]
    assert labels == ["set-a-1-0.set", "set-a-1-0.set"]


async def test_shared_claims_are_made_and_mounted(world: World):
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    kept = {"templates": [claim], "retentionPolicy": {"whenDeleted": "Retain"}}
    await create(world, a_jobset(replicated("a", container=mount), volumeClaimPolicies=[kept]))
    made = await world.get(PersistentVolumeClaim, "data-set")
    assert made is not None
    assert made.metadata.owner_references == ()
    (pod,) = await world.all(Pod)
    source = next(each for each in pod.spec.volumes if each.name == "data").persistent_volume_claim
    assert source is not None
    assert source.claim_name == "data-set"


async def test_its_time_after_the_end_is_over(world: World):
    await create(world, a_jobset(replicated("a"), ttlSecondsAfterFinished=50))
    await play(world, "set-a-0", "Succeeded")
    await world.pass_time(49)
    assert await world.get(JobSet, "set") is not None
    await world.pass_time(2)
    assert await world.get(JobSet, "set") is None


@pytest.mark.parametrize(
    ("jobset", "field"),
    [
        pytest.param(a_jobset(), "spec.replicatedJobs", id="empty"),
        pytest.param(
            a_jobset(replicated("a"), successPolicy={"operator": "All", "targetReplicatedJobs": ["x"]}),
            "spec.successPolicy.targetReplicatedJobs",
            id="unknown target",
        ),
        pytest.param(
            a_jobset(replicated("a", dependsOn=[{"name": "b", "status": "Ready"}]), replicated("b")),
            "spec.replicatedJobs[0].dependsOn[0].name",
            id="depends on what comes later",
        ),
        pytest.param(a_jobset(replicated("a" * 60)), "spec.replicatedJobs[0].name", id="names too long"),
        pytest.param(
            a_jobset(replicated("a"), coordinator={"replicatedJob": "x"}), "spec.coordinator.replicatedJob", id="nobody"
        ),
        pytest.param(
            a_jobset(replicated("a"), successPolicy={"operator": "Most"}), "spec.successPolicy.operator", id="operator"
        ),
    ],
)
async def test_a_wrong_jobset_is_refused_by_its_field(world: World, jobset: JobSet, field: str):
    with pytest.raises(Invalid) as caught:
        await world.client.create(jobset)
    assert [cause.field for cause in caught.value.details.causes] == [field]


async def test_templates_are_fixed_while_it_runs(world: World):
    await create(world, a_jobset(replicated("a")))
    with pytest.raises(Invalid, match="suspended"):
        await world.edit(JobSet, "set", {"spec": {"replicatedJobs": [replicated("a", 2)]}})
