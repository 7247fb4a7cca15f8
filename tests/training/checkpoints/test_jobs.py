"""Jobs of both generations that keep checkpoints, over the real API server: claims, mounts, variables, resizing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.playing import World, a_world
from tests.training.jobs.builders import a_job
from tests.training.jobs.mpijobs import an_mpijob, post

from ketch.kube.codec import decode
from ketch.kube.errors import Invalid
from ketch.kube.meta import ObjectMeta
from ketch.kube.owners import controller_of
from ketch.kube.types.containers import ResourceRequirements
from ketch.kube.types.core import ClaimSpec, ConfigMap, PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.jobs.kinds import KINDS
from ketch.training.jobs.types import JAXJob
from ketch.training.reporters import job_of
from ketch.training.setup import admissions, setup
from ketch.training.trainjobs.types import TrainJob

VOLUME = "checkpoints.ketch.dev/volume"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, jobs.setup, setup, admissions=admissions()) as made:
        yield made


def keeping(job: Any, volume: str = "auto", **more: str) -> Any:
    """The job with these annotations."""
    annotations = {VOLUME: volume} | {f"checkpoints.ketch.dev/{key}": value for key, value in more.items()}
    metadata = msgspec.structs.replace(job.metadata, annotations=annotations)
    return msgspec.structs.replace(job, metadata=metadata)


def a_trainjob() -> TrainJob:
    trainer = {"numNodes": 2, "command": ["torchrun", "train.py"], "env": [{"name": "A", "value": "1"}]}
    raw = {
        "metadata": {"name": "job", "namespace": "default"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer},
    }
    return decode(TrainJob, raw)


async def create(world: World, job: Any) -> None:
    await world.client.create(job)
    await world.settle()


@pytest.mark.parametrize("job", [a_job("JAXJob", Worker=2), a_trainjob()], ids=["v1", "v2"])
async def test_processes_are_told_where_checkpoints_are(world: World, job: Any):
    await create(world, keeping(job, keep="5"))
    (claim,) = await world.all(PersistentVolumeClaim)
    assert claim.metadata.name == "job-checkpoints"
    assert claim.spec.resources.requests == {"storage": "10Gi"}
    owner = controller_of(claim)
    assert owner is not None
    assert owner.name == "job"
    pods = await world.all(Pod)
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod.spec.containers
        env = {each.name: each.value for each in container.env}
        assert (env["KETCH_CHECKPOINT_DIR"], env["KETCH_CHECKPOINT_KEEP"]) == ("/ketch/checkpoints", "5")
        assert container.command[:2] == ("sh", "/ketch/training/start.sh")
        assert container.command[2] in ("python3", "torchrun")
        mounted = {each.name: each.mount_path for each in container.volume_mounts}
        assert mounted["ketch-checkpoints"] == "/ketch/checkpoints"
        (volume,) = [each for each in pod.spec.volumes if each.name == "ketch-checkpoints"]
        assert volume.persistent_volume_claim is not None
        assert volume.persistent_volume_claim.claim_name == "job-checkpoints"
    client = await world.get(ConfigMap, "job-ketch-client")
    assert client is not None
    assert set(client.data) == {"ketch_training.py", "start.sh"}


@pytest.mark.parametrize("job", [a_job("JAXJob", Worker=1), a_trainjob()], ids=["v1", "v2"])
async def test_without_a_wish_nothing_is_added(world: World, job: Any):
    await create(world, job)
    for pod in await world.all(Pod):
        assert not any(each.name.startswith("KETCH") for each in pod.spec.containers[0].env)
        assert pod.spec.containers[0].command[0] != "sh"
    assert await world.all(PersistentVolumeClaim) == []


@pytest.mark.parametrize("job", [a_job("JAXJob", Worker=1), a_trainjob()], ids=["v1", "v2"])
async def test_a_claim_that_is_to_stay_is_nobodys(world: World, job: Any):
    await create(world, keeping(job, retain="true"))
    (claim,) = await world.all(PersistentVolumeClaim)
    assert controller_of(claim) is None
    assert len(await world.all(Pod)) >= 1


@pytest.mark.parametrize("job", [a_job("JAXJob", Worker=1), a_trainjob()], ids=["v1", "v2"])
async def test_a_claim_that_is_there_is_used_below_the_jobs_name(world: World, job: Any):
    await create(world, keeping(job, "shared"))
    assert await world.all(PersistentVolumeClaim) == []
    for pod in await world.all(Pod):
        (mount,) = [each for each in pod.spec.containers[0].volume_mounts if each.name == "ketch-checkpoints"]
        assert mount.sub_path == "job"


@pytest.mark.parametrize("job", [a_job("JAXJob", Worker=1), a_trainjob()], ids=["v1", "v2"])
async def test_anothers_claim_is_left_alone_and_told_of(world: World, job: Any):
    spec = ClaimSpec(access_modes=("ReadWriteOnce",), resources=ResourceRequirements(requests={"storage": "1Gi"}))
    metadata = ObjectMeta(name="job-checkpoints", namespace="default")
    await world.client.create(PersistentVolumeClaim(metadata=metadata, spec=spec))
    await create(world, keeping(job))
    assert await world.all(Pod) == []
    reasons = ("ErrResourceExists", "TrainJobResourcesCreationFailed")
    told = [message for reason in reasons for message in await world.events(reason)]
    assert any("job-checkpoints" in message for message in told)


@pytest.mark.parametrize("version", ["v1", "v2beta1"])
async def test_launchers_and_workers_of_mpi_share_them(world: World, version: str):
    job = an_mpijob(version)
    job["metadata"]["annotations"] = {VOLUME: "auto"}
    await post(world, job)
    pods = await world.all(Pod)
    assert len(pods) == 3
    of_job = job_of(KINDS)
    for pod in pods:
        mounted = {each.name for each in pod.spec.containers[0].volume_mounts}
        assert {"ketch-checkpoints", "ketch-training"} <= mounted
        target = of_job(pod)
        assert target is not None
        assert (target.kind.resource.kind, target.key.name) == ("MPIJob", "job")


async def test_a_job_that_is_resized_begins_again_as_a_whole(world: World):
    await create(world, keeping(a_job("JAXJob", Worker=2)))
    await world.play_all()
    before = {pod.metadata.uid for pod in await world.all(Pod)}
    await world.edit(JAXJob, "job", {"spec": {"jaxReplicaSpecs": {"Worker": {"replicas": 3}}}})
    await world.settle()
    pods = await world.all(Pod)
    assert len(pods) == 3
    assert before.isdisjoint(pod.metadata.uid for pod in pods)
    for pod in pods:
        assert {each.name: each.value for each in pod.spec.containers[0].env}["NUM_PROCESSES"] == "3"
    job = await world.get(JAXJob, "job")
    assert job is not None
    assert job.status.conditions[-1].type == "Restarting"
    assert "number of processes was changed" in job.status.conditions[-1].message
    await world.play_all()
    job = await world.get(JAXJob, "job")
    assert job is not None
    assert job.status.conditions[-1].type == "Running"


async def test_an_elastic_job_goes_on_through_a_change(world: World):
    elastic = {"elasticPolicy": {"minReplicas": 1, "maxReplicas": 4}}
    await create(world, keeping(a_job("PyTorchJob", Worker=2, spec=elastic)))
    await world.play_all()
    before = {pod.metadata.uid for pod in await world.all(Pod)}
    change = {"spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": 3}}}}
    kind = type(a_job("PyTorchJob", Worker=1))
    await world.edit(kind, "job", change)
    await world.settle()
    after = {pod.metadata.uid for pod in await world.all(Pod)}
    assert before < after
    assert len(after) == 3


@pytest.mark.parametrize("job", [a_job("JAXJob", Worker=1), a_trainjob()], ids=["v1", "v2"])
async def test_what_is_wrong_is_refused(world: World, job: Any):
    with pytest.raises(Invalid) as refused:
        await world.client.create(keeping(job, keep="none"))
    assert [cause.field for cause in refused.value.causes] == ["metadata.annotations[checkpoints.ketch.dev/keep]"]
    await create(world, keeping(job, keep="2"))
    with pytest.raises(Invalid):  # an annotation is changed alone
        await world.edit(
            type(job), job.metadata.name, {"metadata": {"annotations": {"checkpoints.ketch.dev/keep": "x"}}}
        )


async def test_an_image_that_starts_by_itself_is_not_wrapped(world: World):
    job = a_trainjob()
    trainer = msgspec.structs.replace(job.spec.trainer, command=())
    await create(world, keeping(msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, trainer=trainer))))
    for pod in await world.all(Pod):
        assert pod.spec.containers[0].command == ()
        assert "KETCH_CHECKPOINT_DIR" in {each.name for each in pod.spec.containers[0].env}
