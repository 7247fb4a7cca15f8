# ruff: noqa: PTH103, PTH118, PTH120, PTH123  # components are written as users write them
"""What only real sandboxes and volumes show: claims, the workspace, long command lines, artifacts left elsewhere."""

import json
import urllib.request
from typing import Any

import kfp
import pytest
from kfp import dsl, kubernetes
from kfp.dsl import Dataset, Input, Model, Output
from tests.e2e.platforms import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]
WAIT = 120
SIZE = 300_000
CONFIG = dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi"))


@dsl.component(base_image="python:3.11")
def repeat(times: int) -> str:
    return "'ä" * times


@dsl.component(base_image="python:3.11")
def length(text: str) -> int:
    return len(text)


@dsl.container_component
def count(text: str, size: dsl.OutputPath(int)):
    script = 'mkdir -p "$(dirname "$2")"; printf %s "$1" | wc -c > "$2"'
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", script], args=["count", text, size])


@dsl.component(base_image="python:3.11")
def leave(kept: Output[Model], moved: Output[Dataset]):
    import os  # noqa: PLC0415  # the function travels alone
    import tempfile  # noqa: PLC0415

    kept.custom_path = tempfile.mkdtemp()
    with open(os.path.join(kept.path, "weights"), "w") as file:
        file.write("kept")
    moved.uri = "s3://elsewhere/data"
    os.makedirs(os.path.dirname(moved.path), exist_ok=True)
    with open(moved.path, "w") as file:
        file.write("moved")


@dsl.component(base_image="python:3.11")
def find(kept: Input[Model], moved: Input[Dataset]) -> list:
    import os  # noqa: PLC0415

    return [open(os.path.join(kept.path, "weights")).read(), open(moved.path).read()]


@dsl.component(base_image="python:3.11")
def write(path: str, text: str):
    with open(path, "w") as file:
        file.write(text)


@dsl.component(base_image="python:3.11")
def read(path: str) -> str:
    with open(path) as file:
        return file.read()


@dsl.component(base_image="python:3.11")
def read_data(data: Input[Dataset]) -> str:
    with open(data.path) as file:
        return f"{data.path} {file.read()}"


@dsl.pipeline(name="storage", pipeline_config=CONFIG)
def storage():
    long = repeat(times=SIZE // 2)
    length(text=long.output)
    count(text=long.output)
    left = leave()
    find(kept=left.outputs["kept"], moved=left.outputs["moved"])
    claim = kubernetes.CreatePVC(access_modes=["ReadWriteOnce"], size="10Mi", pvc_name_suffix="-e2e")
    written = write(path="/claim/file", text="on the claim")
    kubernetes.mount_pvc(written, pvc_name=claim.outputs["name"], mount_path="/claim")
    heard = read(path="/claim/file").after(written)
    kubernetes.mount_pvc(heard, pvc_name=claim.outputs["name"], mount_path="/claim")
    kubernetes.DeletePVC(pvc_name=claim.outputs["name"]).after(heard)


@dsl.pipeline(name="downloading", pipeline_config=CONFIG)
def downloading(uri: str):
    raw = dsl.importer(uri, Dataset, download_to_workspace=True)
    read_data(data=raw.output)


def outputs_of(platform: Platform, run_id: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{platform.address}/apis/v2beta1/runs/{run_id}/tasks?page_size=100") as answer:
        return {task["name"]: task.get("outputs", {}) for task in json.load(answer)["tasks"]}


def finished(client: kfp.Client, run_id: str) -> None:
    run = client.wait_for_run_completion(run_id, timeout=WAIT, sleep_duration=1)
    assert run.state == "SUCCEEDED", [task.error for task in run.run_details.task_details if task.error]


def test_storage_of_every_kind(platform: Platform, kfp_client: kfp.Client):
    run_id = kfp_client.create_run_from_pipeline_func(storage, arguments={}, enable_caching=False).run_id
    finished(kfp_client, run_id)
    found = outputs_of(platform, run_id)
    values = {name: [each["value"] for each in given.get("parameters", [])] for name, given in found.items()}
    assert (values["length"], values["count"]) == ([SIZE], [SIZE // 2 * 3])
    assert values["find"] == [["kept", "moved"]]
    assert values["read"] == ["on the claim"]
    claims = platform.kubectl("get", "pvc", "-n", "kubeflow", "-o", "name").split()
    assert f"persistentvolumeclaim/workspace-{run_id}" in claims
    assert not [name for name in claims if name.endswith("-e2e")]
    artifacts = {each["artifact_key"]: each["artifacts"][0]["uri"] for each in found["leave"]["artifacts"]}
    again = kfp_client.create_run_from_pipeline_func(
        downloading, arguments={"uri": artifacts["moved"]}, enable_caching=False
    ).run_id
    finished(kfp_client, again)
    (heard,) = outputs_of(platform, again)["read_data".replace("_", "-")]["parameters"]
    path = artifacts["moved"].replace("://", "/", 1)
    assert heard["value"] == f"/kfp-workspace/.artifacts/{path} moved"
    for each in (run_id, again):
        kfp_client.delete_run(each)
        platform.kubectl("wait", "-n", "kubeflow", "--for=delete", f"pvc/workspace-{each}", "--timeout=60s")
