"""MPIJobs that are refused, each with the reason, in both of their versions."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world
from tests.training.jobs.mpijobs import a_replica, an_mpijob, post

from ketch.kube.errors import Invalid
from ketch.training.setup import admissions, setup


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, setup, admissions=admissions()) as made:
        yield made


def _without(job: dict[str, Any], role: str) -> dict[str, Any]:
    del job["spec"]["mpiReplicaSpecs"][role]
    return job


def _with(version: str, role: str, replica: dict[str, Any], **spec: Any) -> dict[str, Any]:
    job = an_mpijob(version, **spec)
    job["spec"]["mpiReplicaSpecs"][role] = replica
    return job


NOTHING_TO_RUN: dict[str, Any] = {"replicas": 1, "template": {"spec": {"containers": []}}}
NO_IMAGE = {"replicas": 1, "template": {"spec": {"containers": [{"name": "main"}]}}}


@pytest.mark.parametrize(
    ("job", "message"),
    [
        *(
            pytest.param(job, message, id=f"{version}: {name}")
            for version in ("v1", "v2beta1")
            for name, job, message in (
                ("no launcher", _without(an_mpijob(version), "Launcher"), "must have Launcher replica spec"),
                ("two launchers", _with(version, "Launcher", a_replica(2)), "there is exactly one Launcher"),
                ("no container", _with(version, "Worker", NOTHING_TO_RUN), "must have at least one container"),
                ("no image", _with(version, "Worker", NO_IMAGE), "image: Required value"),
                ("unknown type", _with(version, "Boss", a_replica(1)), 'Unsupported value: "Boss"'),
                ("name", an_mpijob(version, name="x" * 60), "characters too long"),
                ("slots", an_mpijob(version, slotsPerWorker=-1), "greater than or equal to 0"),
                (
                    "gang",
                    an_mpijob(version, runPolicy={"schedulingPolicy": {"minAvailable": 4}}),
                    "must not be more than the job's 3 replicas",
                ),
            )
        ),
        pytest.param(an_mpijob("v1", mainContainer="x"), "no container of the workers", id="v1: main container"),
        pytest.param(an_mpijob("v1", sshAuthMountPath="/x"), "set mpiImplementation", id="v1: a field of v2beta1"),
        pytest.param(
            an_mpijob("v1", runPolicy={"managedBy": "me"}), "kubeflow.org/training-operator", id="v1: manager"
        ),
        pytest.param(
            an_mpijob("v2beta1", runPolicy={"managedBy": "me"}), "kubeflow.org/mpi-operator", id="v2: manager"
        ),
        pytest.param(an_mpijob("v2beta1", mpiImplementation="LAM"), "LAM", id="v2: implementation"),
        pytest.param(an_mpijob("v2beta1", sshAuthMountPath="keys"), "must be an absolute path", id="v2: relative path"),
        pytest.param(
            an_mpijob("v2beta1", sshAuthMountPath=""), "must have a mount path for SSH credentials", id="v2: no path"
        ),
        pytest.param(
            an_mpijob(
                "v2beta1",
                launcherCreationPolicy="WaitForWorkersReady",
                runPolicy={"schedulingPolicy": {"minAvailable": 3}},
            ),
            "must not be more than the 2 workers",
            id="v2: a gang with a launcher that waits",
        ),
        pytest.param(
            _with("v2beta1", "Worker", a_replica(0)), "must be greater than or equal to 1", id="v2: no workers"
        ),
        pytest.param(
            _with("v2beta1", "Worker", a_replica(1, "Always")), '"Never", "OnFailure"', id="v2: restart policy"
        ),
    ],
)
async def test_a_wrong_job_is_refused_with_the_reason(world: World, job: dict[str, Any], message: str):
    with pytest.raises(Invalid) as refused:
        await post(world, job)
    assert message in str(refused.value), json.dumps(str(refused.value))
