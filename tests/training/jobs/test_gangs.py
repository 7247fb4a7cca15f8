"""Jobs whose processes start together: the PodGroup they get, and what the scheduler makes of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world
from tests.training.jobs.builders import BY_NAME, a_job, a_replica

from ketch.kube.errors import Invalid
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod
from ketch.local import scheduler
from ketch.training.jobs.types import JAXJob, PyTorchJob
from ketch.training.setup import admissions, setup

PYTORCH = BY_NAME["PyTorchJob"]
ONE_CPU = {"resources": {"requests": {"cpu": "1"}}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, scheduler.setup, setup, admissions=admissions()) as made:
        yield made


def a_gang(name: str, workers: int, **policy: Any) -> PyTorchJob:
    roles = {"Master": a_replica(PYTORCH, 1, **ONE_CPU), "Worker": a_replica(PYTORCH, workers, **ONE_CPU)}
    return a_job("PyTorchJob", name, {"schedulingPolicy": policy}, **roles)


async def placed(world: World) -> set[str]:
    return {pod.metadata.name for pod in await world.all(Pod) if pod.spec.node_name}


async def test_all_of_the_job_is_a_group_with_its_priority(world: World):
    await world.client.create(a_gang("job", 2, priorityClass="system-node-critical", scheduleTimeoutSeconds=7))
    await world.settle()
    group = await world.get(PodGroup, "job")
    assert group is not None
    assert (group.spec.min_member, group.spec.schedule_timeout_seconds) == (3, 7)
    assert [each.kind for each in group.metadata.owner_references] == ["PyTorchJob"]
    pods = await world.all(Pod)
    assert {pod.metadata.labels[POD_GROUP_LABEL] for pod in pods} == {"job"}
    assert {pod.spec.priority_class_name for pod in pods} == {"system-node-critical"}


async def test_a_job_that_says_nothing_has_no_group(world: World):
    await world.client.create(a_job("PyTorchJob", Master=1))
    await world.settle()
    assert await world.all(PodGroup) == []
    (pod,) = await world.all(Pod)
    assert POD_GROUP_LABEL not in pod.metadata.labels


async def test_the_group_follows_the_scale(world: World):
    await world.client.create(a_job("JAXJob", run_policy={"schedulingPolicy": {}}, Worker=2))
    await world.settle()
    await world.edit(JAXJob, "job", {"spec": {"replicas": 3}}, "scale")

    async def grown() -> bool:
        group = await world.get(PodGroup, "job")
        return group is not None and group.spec.min_member == 3

    await world.until(grown)


async def test_two_jobs_that_half_fit_run_one_after_the_other(world: World):
    await world.node(allocatable={"cpu": "3"})
    for name in ("a", "b"):
        await world.client.create(a_gang(name, 1))

    async def one_job() -> bool:
        return len(await placed(world)) == 2

    await world.until(one_job)
    await world.settle()
    first = await placed(world)
    (name,) = {pod.partition("-")[0] for pod in first}
    for pod in first:
        found = await world.get(Pod, pod)
        assert found is not None
        await world.play(found, "Succeeded")

    async def the_other() -> bool:
        return len(await placed(world) - first) == 2

    await world.until(the_other)
    assert {pod.partition("-")[0] for pod in await placed(world)} == {"a", "b"}

    async def has_succeeded() -> bool:
        job = await world.get(PyTorchJob, name)
        return job is not None and job.status.conditions[-1].type == "Succeeded"

    await world.until(has_succeeded)


async def test_fewer_than_all_may_begin(world: World):
    await world.node(allocatable={"cpu": "2"})
    await world.client.create(a_gang("job", 2, minAvailable=2))

    async def two() -> bool:
        return len(await placed(world)) == 2

    await world.until(two)


async def test_more_than_there_are_is_refused(world: World):
    with pytest.raises(Invalid, match=r"schedulingPolicy\.minAvailable: Invalid value: 4: must not be more than"):
        await world.client.create(a_gang("job", 2, minAvailable=4))


async def test_where_there_are_no_groups_it_is_said_and_the_job_runs(tmp_path: Path):
    async with a_world(tmp_path, setup, admissions=admissions()) as world:
        await world.client.create(a_gang("job", 1))
        await world.settle()
        assert len(await world.all(Pod)) == 2
        (message,) = await world.events("FailedCreatePodGroup")
        assert "this cluster has no PodGroups" in message
