"""Deployments and their ReplicaSets on the real API server, pods played."""

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.client import DeleteOptions
from ketch.kube.conditions import find
from ketch.kube.meta import LabelSelector, ObjectKey, ObjectMeta
from ketch.kube.types.apps import Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.local.workloads import deployments, replicasets

KEY = ObjectKey(NAMESPACE, "web")
LABELS = {"app": "web"}
REVISION = "deployment.kubernetes.io/revision"


def a_deployment(replicas: int = 3, **spec) -> Deployment:
    template = PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=a_pod().spec)
    spec = DeploymentSpec(replicas=replicas, selector=LabelSelector(match_labels=LABELS), template=template, **spec)
    return Deployment(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=spec)


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, replicasets.setup, deployments.setup) as world:
        await world.client.create(a_deployment())
        await world.settle()
        await world.play_all()
        yield world


async def condition(world, kind):
    return find((await world.get(Deployment, "web")).status.conditions, kind)


async def images(world) -> list[str]:
    pods = [pod for pod in await world.all(Pod) if pod.metadata.deletion_timestamp is None]
    return sorted(pod.spec.containers[0].image for pod in pods)


async def set_image(world, image: str) -> None:
    container = {"name": "main", "image": image}
    await world.edit(Deployment, "web", {"spec": {"template": {"spec": {"containers": [container]}}}})
    await world.settle()


async def sizes(world) -> list[int]:
    return sorted(each.spec.replicas for each in await world.all(ReplicaSet))


async def test_it_converges_and_reports(world):
    found = await world.get(Deployment, "web")
    status = found.status
    assert (status.replicas, status.updated_replicas, status.available_replicas) == (3, 3, 3)
    assert status.observed_generation == found.metadata.generation
    assert found.metadata.annotations[REVISION] == "1"
    assert (await condition(world, "Available")).reason == "MinimumReplicasAvailable"
    assert (await condition(world, "Progressing")).reason == "NewReplicaSetAvailable"
    (only,) = await world.all(ReplicaSet)
    assert only.metadata.name == f"web-{only.metadata.labels['pod-template-hash']}"
    assert only.spec.selector.match_labels.keys() == {"app", "pod-template-hash"}


async def test_a_new_template_rolls_and_enough_pods_serve_all_along(world):
    await set_image(world, "python:3.12")
    for _ in range(10):
        pods = [pod for pod in await world.all(Pod) if pod.metadata.deletion_timestamp is None]
        assert len(pods) <= 4
        assert sum(any(each.status == "True" for each in pod.status.conditions) for pod in pods) >= 3
        await world.play_all()
    assert await images(world) == ["python:3.12"] * 3
    assert await sizes(world) == [0, 3]
    assert (await condition(world, "Progressing")).reason == "NewReplicaSetAvailable"


async def test_going_back_takes_the_old_set_up_again(world):
    first = (await world.all(ReplicaSet))[0].metadata.name
    for image in ("python:3.12", "python:3.11"):
        await set_image(world, image)
        for _ in range(6):
            await world.play_all()
    assert await images(world) == ["python:3.11"] * 3
    again = await world.get(ReplicaSet, first)
    assert again.spec.replicas == 3
    assert again.metadata.annotations[REVISION] == "3"
    assert again.metadata.annotations[f"{REVISION}-history"] == "1"
    assert (await world.get(Deployment, "web")).metadata.annotations[REVISION] == "3"


async def test_pods_that_never_serve_stop_the_rollout_and_the_deadline_tells(world):
    await set_image(world, "python:broken")
    assert await images(world) == ["python:3.11"] * 3 + ["python:broken"]
    await world.pass_time(300)
    assert (await condition(world, "Progressing")).reason == "ReplicaSetUpdated"
    await world.pass_time(400)
    progress = await condition(world, "Progressing")
    assert (progress.status, progress.reason) == ("False", "ProgressDeadlineExceeded")
    assert await world.settles("deployments", KEY)
    await set_image(world, "python:3.11")
    await world.play_all()
    assert (await condition(world, "Progressing")).reason == "NewReplicaSetAvailable"


async def test_recreate_ends_all_old_pods_first(tmp_path):
    async with a_world(tmp_path, replicasets.setup, deployments.setup) as world:
        await world.client.create(a_deployment(strategy=DeploymentStrategy(type="Recreate")))
        await world.settle()
        for pod in await world.all(Pod):
            await world.client.create_subresource(
                Pod, pod.metadata.name, NAMESPACE, "binding", {"target": {"name": "node"}}
            )
        await world.play_all()
        await set_image(world, "python:3.12")
        held = await world.all(Pod)
        assert [pod.spec.containers[0].image for pod in held] == ["python:3.11"] * 3
        assert all(pod.metadata.deletion_timestamp for pod in held)
        for pod in held:
            await world.delete(Pod, pod.metadata.name, options=DeleteOptions(grace_period_seconds=0))
        await world.settle()
        assert await images(world) == ["python:3.12"] * 3


async def test_paused_it_scales_but_does_not_roll(world):
    await world.edit(Deployment, "web", {"spec": {"paused": True}})
    await set_image(world, "python:3.12")
    assert await images(world) == ["python:3.11"] * 3
    await world.edit(Deployment, "web", {"spec": {"replicas": 5}})
    await world.settle()
    assert await images(world) == ["python:3.11"] * 5
    assert (await condition(world, "Progressing")).reason == "DeploymentPaused"
    await world.edit(Deployment, "web", {"spec": {"paused": False}})
    for _ in range(8):
        await world.play_all()
    assert await images(world) == ["python:3.12"] * 5


async def test_drift_of_a_set_is_repaired(world):
    name = (await world.all(ReplicaSet))[0].metadata.name
    await world.edit(ReplicaSet, name, {"spec": {"replicas": 1}})
    await world.settle()
    assert await sizes(world) == [3]
    await world.delete(ReplicaSet, name)
    await world.settle()
    assert await sizes(world) == [3]


async def test_history_is_kept_to_its_limit(world):
    await world.edit(Deployment, "web", {"spec": {"revisionHistoryLimit": 1}})
    for number in range(3):
        await set_image(world, f"python:{number}")
        for _ in range(6):
            await world.play_all()
    assert await sizes(world) == [0, 3]


async def test_it_settles_and_ends_quietly(world):
    assert await world.settles("deployments", KEY)
    await world.delete(Deployment, "web")
    assert await world.settles("deployments", KEY, ObjectKey(NAMESPACE, "never"))
    assert await sizes(world) == [3]  # the garbage collector's
