"""Pods told from rows are those that were made; also of steps that never had one."""

from typing import Any

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Input, Output
from tests.pipelines.reconciler.conftest import NAMESPACE, Stage

from ketch.kube.informer import Informer
from ketch.kube.types.core import ConfigMap, Pod
from ketch.metadata.objects import LocalObjectStore
from ketch.pipelines.errors import FailedPrecondition, NotFound
from ketch.pipelines.records.states import CACHED, FAILED, SUCCEEDED
from ketch.pipelines.running.rebuilding import Rebuilder
from ketch.pipelines.transfer.stores import Stores


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def write(text: str, data: Output[Dataset]) -> str:
    with open(data.path, "w") as file:  # noqa: PTH123
        file.write(text)
    return text


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def check(data: Input[Dataset], number: int):
    with open(data.path) as file:  # noqa: PTH123
        if file.read() == "bad":
            raise ValueError(number)


@dsl.pipeline(name="told")
def told(text: str) -> None:
    written = write(text=text)
    with dsl.ParallelFor([1, 2]) as number:
        check(data=written.outputs["data"], number=number).set_retry(1).set_caching_options(False)


def rebuilder(stage: Stage) -> Rebuilder:
    manager = stage.manager
    nothing = Informer(manager.client, ConfigMap, manager.clock)  # nobody configures stores here
    stores = Stores(manager.client, nothing, manager.clock, LocalObjectStore(stage.player.objects))
    return Rebuilder(stage.store, stage.artifacts, stores)


def essence(pod: Pod) -> Any:
    """What was asked for; without what the server adds."""
    (main,) = pod.spec.containers
    volumes = {volume.name: volume.csi.volume_attributes for volume in pod.spec.volumes if volume.csi}
    mounts = {(mount.name, mount.mount_path) for mount in main.volume_mounts if mount.name in volumes}
    env = [(variable.name, variable.value) for variable in main.env]
    metadata = pod.metadata
    return metadata.name, metadata.annotations, main.image, main.command, main.args, env, volumes, mounts


@pytest.mark.parametrize(("text", "state", "attempts"), [("good", SUCCEEDED, 1), ("bad", FAILED, 2)])
async def test_every_attempt_s_pod_is_told_as_it_was_made(stage: Stage, text: str, state: str, attempts: int) -> None:
    run, tasks = await stage.run(told, {"text": text})
    assert run.state == state
    made = {pod.metadata.name: pod for pod in await stage.pods(run.id)}
    assert len(made) == 1 + 2 * attempts
    pods = rebuilder(stage)
    seen = []
    for task in tasks.values():
        for attempt, name in enumerate([*task.failed_pods, task.pod_name] if task.pod_name else ()):
            assert essence(await pods.pod(run, task.id, attempt)) == essence(made[name])
            seen.append(name)
    assert sorted(seen) == sorted(made)


async def test_a_step_whose_outputs_were_known_has_a_pod_to_tell_of(stage: Stage) -> None:
    await stage.run(told, {"text": "again"})
    run, tasks = await stage.run(told, {"text": "again"})
    task = tasks["root/write"]
    assert (task.state, task.pod_name) == (CACHED, "")
    pod = await rebuilder(stage).pod(run, task.id, 0)
    assert "again" in " ".join(pod.spec.containers[0].args)
    assert pod.metadata.namespace == NAMESPACE


async def test_what_has_no_pod_is_said(stage: Stage) -> None:
    run, tasks = await stage.run(told, {"text": "x"})
    with pytest.raises(NotFound, match="has no task absent"):
        await rebuilder(stage).pod(run, "absent", 0)
    loop = next(task for task in tasks.values() if task.kind == "loop")
    with pytest.raises(FailedPrecondition, match="runs no container"):
        await rebuilder(stage).pod(run, loop.id, 0)
