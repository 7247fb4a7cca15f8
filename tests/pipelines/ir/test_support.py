"""What cannot be run is refused by name."""

import copy
from typing import Any

import pytest

from ketch.pipelines.ir.reading import read
from ketch.pipelines.ir.support import unsupported

PLAIN: dict[str, Any] = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "p"},
    "deploymentSpec": {"executors": {"exec-a": {"container": {"image": "i", "args": ["x"]}}}},
    "components": {"comp-a": {"executorLabel": "exec-a"}},
    "root": {"dag": {"tasks": {"train": {"componentRef": {"name": "comp-a"}}}}},
}


def test_an_ordinary_pipeline_runs() -> None:
    empty = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-a": {}}}}}}
    assert unsupported(read(PLAIN)) == []
    assert unsupported(read(PLAIN), empty, "minio://mlpipeline/v2/artifacts") == []


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ({"container": {"image": "i", "args": ["{{$.workspace_path}}/x"]}}, "task train uses the workspace"),
        (
            {"importer": {"artifactUri": {"constant": "x"}, "downloadToWorkspace": True}},
            "task train uses the workspace",
        ),
        ({"resolver": {}}, "task train: resolver executors"),
        ({"customJob": {"customJob": {}}}, "task train: custom jobs"),
    ],
)
def test_executors(executor: dict[str, Any], message: str) -> None:
    document = copy.deepcopy(PLAIN)
    document["deploymentSpec"]["executors"]["exec-a"] = executor
    (said,) = unsupported(read(document))
    assert said.startswith(message)


def config(**fields: Any) -> dict[str, Any]:
    return {"platforms": {"kubernetes": {"pipelineConfig": fields}}}


def test_a_workspace_is_there_when_it_is_asked_for() -> None:
    document = copy.deepcopy(PLAIN)
    task = document["root"]["dag"]["tasks"]["train"]
    task["inputs"] = {"parameters": {"a": {"runtimeValue": {"constant": "{{$.workspace_path}}/x"}}}}
    (said,) = unsupported(read(document))
    assert said.startswith("task train uses the workspace, but the pipeline has none")
    assert unsupported(read(document), config(workspace={"size": "1Gi"})) == []


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        (config(workspace={"size": "much"}), "platforms.kubernetes.pipelineConfig.workspace.size: 'much' is no"),
        (config(workspace={"size": "1Gi", "kubernetes": {"pvcSpecPatch": {"volumeName": "v"}}}), "platforms."),
        (config(activeDeadlineSeconds=-1), "platforms.kubernetes.pipelineConfig.active_deadline_seconds: must not"),
        (config(activeDeadlineSeconds="x"), "platforms.kubernetes.pipelineConfig.activeDeadlineSeconds: Expected"),
        (config(parallelism=1), "platforms.kubernetes.pipelineConfig: Object contains unknown field `parallelism`"),
    ],
)
def test_what_is_said_of_the_whole_run_is_checked(platform: dict[str, Any], message: str) -> None:
    (said,) = unsupported(read(PLAIN), platform)
    assert said.startswith(message)


def test_roots() -> None:
    (root,) = unsupported(read(PLAIN), None, "/tmp/x")
    assert root.startswith("pipeline_root: ")
