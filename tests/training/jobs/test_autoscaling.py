"""The autoscaler of an elastic job: it comes, changes and goes with the job. Pods are played."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world
from tests.training.jobs.builders import a_job

from ketch.kube.codec import decode
from ketch.kube.errors import Invalid
from ketch.kube.meta import ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.types.autoscaling import HorizontalPodAutoscaler
from ketch.training.jobs.types import PaddleJob, PyTorchJob
from ketch.training.setup import admissions, setup

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
ELASTIC = {"minReplicas": 1, "maxReplicas": 3, "metrics": [CPU]}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, setup, admissions=admissions()) as made:
        yield made


async def begin(world: World, kind: str = "PyTorchJob", policy: dict[str, Any] | None = None) -> None:
    await world.client.create(a_job(kind, Worker=2, spec={"elasticPolicy": policy or ELASTIC}))
    await world.settle()


async def autoscaler(world: World) -> HorizontalPodAutoscaler | None:
    return await world.get(HorizontalPodAutoscaler, "job")


@pytest.mark.parametrize("kind", [PyTorchJob, PaddleJob])
async def test_it_scales_the_workers_between_the_policy_s_bounds(world: World, kind: Any):
    await begin(world, kind.resource.kind)
    found, job = await autoscaler(world), await world.get(kind, "job")
    assert found is not None
    assert job is not None
    target, owner = found.spec.scale_target_ref, controller_of(found)
    assert (target.api_version, target.kind, target.name) == ("kubeflow.org/v1", kind.resource.kind, "job")
    assert (found.spec.min_replicas, found.spec.max_replicas, found.spec.metrics) == (1, 3, (CPU,))
    assert owner is not None
    assert owner.uid == job.metadata.uid
    assert await world.settles(f"training-{kind.resource.plural}", ObjectKey("default", "job"))


async def test_it_follows_the_policy_and_is_mended(world: World):
    await begin(world)
    await world.edit(PyTorchJob, "job", {"spec": {"elasticPolicy": {"maxReplicas": 5}}})
    await world.settle()
    found = await autoscaler(world)
    assert found is not None
    assert found.spec.max_replicas == 5
    await world.edit(HorizontalPodAutoscaler, "job", {"spec": {"maxReplicas": 9}})
    await world.settle()
    found = await autoscaler(world)
    assert found is not None
    assert found.spec.max_replicas == 5
    await world.delete(HorizontalPodAutoscaler, "job")
    await world.settle()
    assert await autoscaler(world) is not None
    await world.edit(PyTorchJob, "job", {"spec": {"elasticPolicy": {"metrics": None}}})
    await world.settle()
    assert await autoscaler(world) is None


async def test_what_does_not_run_is_not_scaled(world: World):
    await begin(world)
    for suspended in (True, False):
        await world.edit(PyTorchJob, "job", {"spec": {"runPolicy": {"suspend": suspended}}})
        await world.settle()
        assert (await autoscaler(world) is None) is suspended
    await world.play_all("Running")
    await world.play_all("Succeeded")
    job = await world.get(PyTorchJob, "job")
    assert job is not None
    assert job.status.conditions[-1].type == "Succeeded"
    assert await autoscaler(world) is None


async def test_a_job_without_metrics_is_scaled_by_hand_alone(world: World):
    await begin(world, policy={"minReplicas": 1, "maxReplicas": 3})
    assert await autoscaler(world) is None


async def test_another_s_autoscaler_is_left_alone(world: World):
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 7}
    theirs = decode(HorizontalPodAutoscaler, {"metadata": {"name": "job", "namespace": "default"}, "spec": spec})
    await world.client.create(theirs)
    await begin(world)
    found = await autoscaler(world)
    assert found is not None
    assert found.spec.max_replicas == 7
    assert await world.events("FailedCreateAutoscaler") == [
        "Error creating: autoscaler job exists and is not this job's"
    ]


async def test_a_metric_that_the_cluster_refuses_is_told_and_the_job_runs(world: World):
    wrong = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}
    await begin(world, policy=ELASTIC | {"metrics": [wrong]})
    await world.play_all("Running")
    job = await world.get(PyTorchJob, "job")
    assert job is not None
    assert job.status.conditions[-1].type == "Running"
    assert any("target" in each for each in await world.events("FailedCreateAutoscaler"))


@pytest.mark.parametrize("kind", ["PyTorchJob", "PaddleJob"])
@pytest.mark.parametrize(
    ("metric", "field"),
    [
        ({"type": "Moon"}, "spec.elasticPolicy.metrics[0].type"),
        ({}, "spec.elasticPolicy.metrics[0].type"),
        ({"type": "Pods", "resource": CPU["resource"]}, "spec.elasticPolicy.metrics[0].pods"),
    ],
)
async def test_a_metric_of_no_kind_is_refused(world: World, kind: str, metric: dict[str, Any], field: str):
    with pytest.raises(Invalid) as caught:
        await begin(world, kind, ELASTIC | {"metrics": [metric]})
    assert [each.field for each in caught.value.details.causes] == [field]
