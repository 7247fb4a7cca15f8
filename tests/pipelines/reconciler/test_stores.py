"""Runs whose artifacts lie elsewhere: what the sidecar says counts, and a store that is away is waited for."""

from collections.abc import Mapping
from typing import Any

import pytest
from kfp import dsl
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.waiting import eventually

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import ConfigMap, Pod, Secret
from ketch.pipelines import reconciler
from ketch.pipelines.records.states import FAILED, SUCCEEDED

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
NAMESPACE = "kubeflow"
NOBODY = "http://127.0.0.1:1"
Stage = Any


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def nothing():
    pass


@dsl.pipeline(name="elsewhere")
def elsewhere():
    nothing()


def container(name: str, code: int, message: str = "") -> Mapping[str, Any]:
    ended = {"exitCode": code, "message": message, "finishedAt": "2026-01-01T00:00:00Z"}
    return {"name": name, "state": {"terminated": ended}, "ready": False, "restartCount": 0, "image": "", "imageID": ""}


def delivered(code: int = 0, message: str = "") -> Mapping[str, Any]:
    return {
        "phase": "Succeeded",
        "initContainerStatuses": [container("ketch-deliver", code, message)],
        "containerStatuses": [container("main", 0)],
    }


async def configure(stage: Stage, endpoint: str) -> None:
    """The store of minio:// for the namespace."""
    providers = f"""
minio:
  default:
    endpoint: {endpoint}
    maxRetries: 0
    credentials: {{secretRef: {{secretName: keys, accessKeyKey: access, secretKeyKey: secret}}}}
"""
    meta = ObjectMeta(name="kfp-launcher", namespace=NAMESPACE)
    client = stage.manager.client
    keys = {"access": ACCESS_KEY, "secret": SECRET_KEY}
    await client.apply(Secret(metadata=ObjectMeta(name="keys", namespace=NAMESPACE), string_data=keys), manager="test")
    applied = await client.apply(ConfigMap(metadata=meta, data={"providers": providers}), manager="test")
    informer = stage.manager.informer(ConfigMap, field_selector="metadata.name=kfp-launcher")

    def known() -> bool:
        found = informer.get(applied.key)
        return found is not None and found.metadata.resource_version == applied.metadata.resource_version

    await eventually(known)


async def test_a_store_that_is_away_is_waited_for(
    stage: Stage, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_STORE_PAUSE", 0.05)
    monkeypatch.setattr(reconciler, "STORE_SECONDS", 10.0**9)
    await configure(stage, NOBODY)
    stage.player.behaviour = lambda pod: delivered()
    run_id = await stage.submit(elsewhere)

    async def told() -> bool:
        task = (await stage.tasks(run_id)).get("root/nothing")
        return bool(task and task.error and "the step's outputs cannot be read: " in task.error["message"])

    await eventually(told)
    await configure(stage, seaweed.endpoint)
    assert (await stage.ended(run_id)).state == SUCCEEDED


async def test_a_store_that_stays_away_fails_the_step(stage: Stage) -> None:
    await configure(stage, NOBODY)
    stage.player.behaviour = lambda pod: delivered()
    run, tasks = await stage.run(elsewhere)
    assert run.state == FAILED
    message = tasks["root/nothing"].error["message"]
    assert message.startswith("the step's outputs cannot be read: reading minio://mlpipeline/v2/artifacts/elsewhere/")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (delivered(1, "an output could not be uploaded: x"), "an output could not be uploaded: x"),
        (
            {"phase": "Succeeded", "containerStatuses": [container("main", 0)]},
            "the sidecar that carries them never ended",
        ),
    ],
)
async def test_outputs_that_were_not_uploaded_fail_the_step(
    stage: Stage, seaweed: Seaweed, status: Mapping[str, Any], why: str
) -> None:
    await configure(stage, seaweed.endpoint)
    seen: list[Pod] = []

    def behave(pod: Pod) -> Mapping[str, Any]:
        seen.append(pod)
        return status

    stage.player.behaviour = behave
    run, tasks = await stage.run(elsewhere)
    assert run.state == FAILED
    assert why in tasks["root/nothing"].error["message"]
    assert [each.name for each in seen[0].spec.init_containers] == ["ketch-deliver"]


async def test_a_mistake_in_the_configuration_fails_the_step_and_is_named(stage: Stage) -> None:
    await configure(stage, "")
    meta = ObjectMeta(name="kfp-launcher", namespace=NAMESPACE)
    await stage.manager.client.update(ConfigMap(metadata=meta, data={"providers": "minio: {default: {endpiont: x}}"}))
    informer = stage.manager.informer(ConfigMap, field_selector="metadata.name=kfp-launcher")
    await eventually(lambda: "endpiont" in informer.list()[0].data["providers"])
    run, tasks = await stage.run(elsewhere)
    assert run.state == FAILED
    assert "ConfigMap kfp-launcher: providers: " in tasks["root/nothing"].error["message"]
    assert "endpiont" in tasks["root/nothing"].error["message"]
