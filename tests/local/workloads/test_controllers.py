"""All controllers and the scheduler together."""

import asyncio

import pytest
from tests.local.workloads.jobs.test_counting import a_job
from tests.local.workloads.test_deployments import a_deployment
from tests.playing import NAMESPACE, a_world

from ketch.kube.client import DeleteOptions
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.apps import Deployment, ReplicaSet
from ketch.kube.types.batch import Job
from ketch.kube.types.core import Namespace, ServiceAccount
from ketch.kube.types.pods import Pod
from ketch.local import scheduler, workloads


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, scheduler.setup, workloads.setup) as world:
        await world.node(allocatable={"pods": "500"})
        yield world


async def until_placed(world, count: int) -> None:
    async def all_are() -> bool:
        pods = await world.all(Pod)
        return len(pods) == count and all(pod.spec.node_name for pod in pods)

    await world.until(all_are)


async def gone(world, name: str) -> None:
    """The node says that a deleted pod has ended."""
    await world.delete(Pod, name, options=DeleteOptions(grace_period_seconds=0))


async def test_a_deleted_deployment_takes_everything_along(world):
    await world.client.create(a_deployment())
    await until_placed(world, 3)
    await world.settle()
    await world.delete(Deployment, "web", options=DeleteOptions(propagation="Foreground"))
    await world.settle()
    pods = await world.all(Pod)
    assert len(pods) == 3
    assert all(pod.metadata.deletion_timestamp for pod in pods)
    assert await world.get(Deployment, "web") is not None
    await asyncio.gather(*(gone(world, pod.metadata.name) for pod in pods))
    await world.settle()
    assert (await world.all(Pod), await world.all(ReplicaSet), await world.all(Deployment)) == ([], [], [])


async def test_a_finished_job_leaves_its_pods_and_takes_them_along(world):
    await world.client.create(a_job(parallelism=3, ttl_seconds_after_finished=60))
    await until_placed(world, 3)
    await world.play_all("Succeeded")
    assert (await world.get(Job, "job")).status.succeeded == 3
    assert len(await world.all(Pod)) == 3
    await world.pass_time(61)
    assert (await world.all(Job), await world.all(Pod)) == ([], [])


async def test_a_job_that_is_deleted_while_it_runs_takes_its_pods_along(world):
    await world.client.create(a_job())
    await until_placed(world, 2)
    await world.settle()
    await world.delete(Job, "job", options=DeleteOptions(propagation="Background"))
    await world.settle()
    for pod in await world.all(Pod):
        assert pod.metadata.deletion_timestamp is not None
        assert pod.metadata.finalizers == ()
        await gone(world, pod.metadata.name)
    await world.settle()
    assert await world.all(Pod) == []


async def test_a_namespace_goes_with_its_workloads(world):
    await world.client.create(Namespace(metadata=ObjectMeta(name="team")))
    await world.settle()
    meta = ObjectMeta(name="web", namespace="team")
    await world.client.create(Deployment(metadata=meta, spec=a_deployment().spec))

    async def placed() -> bool:
        pods = (await world.client.list(Pod, "team")).items
        return len(pods) == 3 and all(pod.spec.node_name for pod in pods)

    await world.until(placed)
    await world.delete(Namespace, "team")
    await world.settle()
    pods = (await world.client.list(Pod, "team")).items
    assert all(pod.metadata.deletion_timestamp for pod in pods)
    for pod in pods:
        options = DeleteOptions(grace_period_seconds=0)
        await world.client.delete(Pod, pod.metadata.name, "team", options)
    await world.settle()
    assert await world.get(Namespace, "team") is None
    assert await world.get(ServiceAccount, "default", NAMESPACE)


async def test_together_they_come_to_rest(world):
    await world.client.create(a_deployment())
    await world.client.create(a_job(parallelism=2))
    await until_placed(world, 5)
    await world.play_all()
    await world.settle()

    async def rested() -> bool:
        before = await world.revision()
        for _ in range(200):
            await world.clock.sleep(0)
        await world.settle()
        return await world.revision() == before

    await world.until(rested)
