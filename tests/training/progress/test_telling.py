"""On a cluster whose namespaces hold no certificate of the status endpoint, each job gets it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import NAMESPACE, World, a_world
from tests.training.jobs.builders import a_job

from ketch.kube.codec import decode
from ketch.kube.manager import Manager
from ketch.kube.owners import controller_of
from ketch.kube.types.core import ConfigMap
from ketch.kube.types.pods import Pod
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.progress.telling import FOLDER, VOLUME_NAME, StatusAddress
from ketch.training.setup import admissions, setup
from ketch.training.trainjobs.types import TrainJob

URL = "https://ketch.kubeflow-system.svc:8443"


async def training(manager: Manager) -> None:
    await setup(manager, StatusAddress(URL, authority="the certificate"))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, jobs.setup, training, admissions=admissions()) as made:
        yield made


def a_trainjob() -> TrainJob:
    return decode(
        TrainJob,
        {
            "metadata": {"name": "job", "namespace": NAMESPACE},
            "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"command": ["true"]}},
        },
    )


@pytest.mark.parametrize("job", [a_job("PyTorchJob", Master=1), a_trainjob()], ids=["v1", "Trainer"])
async def test_its_pods_find_the_endpoint_and_its_certificate(world: World, job: Any):
    await world.client.create(job)
    await world.settle()
    files = await world.get(ConfigMap, "job-tls-config")
    assert files is not None
    owner = controller_of(files)
    assert owner is not None
    assert (files.data, owner.kind) == ({"ca.crt": "the certificate"}, job.resource.kind)
    (pod,) = await world.all(Pod)
    told = {each.name: each.value for each in pod.spec.containers[0].env}
    assert told["KUBEFLOW_TRAINER_SERVER_URL"] == f"{URL}{job.resource.path(NAMESPACE, 'job', 'status')}"
    assert told["KUBEFLOW_TRAINER_SERVER_CA_CERT"] == f"{FOLDER}/ca.crt"
    (volume,) = [each for each in pod.spec.volumes if each.name == VOLUME_NAME]
    assert volume.projected is not None
    _, trust = volume.projected.sources
    assert trust.config_map is not None
    assert trust.config_map.name == "job-tls-config"
