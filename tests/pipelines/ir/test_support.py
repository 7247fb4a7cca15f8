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
        ({"container": {"image": "argostub/createpvc"}}, "task train: creating and deleting PersistentVolumeClaims"),
        ({"container": {"image": "i", "args": ["{{$.workspace_path}}/x"]}}, "task train: the workspace"),
        ({"resolver": {}}, "task train: resolver executors"),
        ({"customJob": {"customJob": {}}}, "task train: custom jobs"),
        ({"importer": {"artifactUri": {"constant": "x"}, "downloadToWorkspace": True}}, "task train: importing into"),
    ],
)
def test_executors(executor: dict[str, Any], message: str) -> None:
    document = copy.deepcopy(PLAIN)
    document["deploymentSpec"]["executors"]["exec-a"] = executor
    (said,) = unsupported(read(document))
    assert said.startswith(message)


def test_platform_settings_and_roots() -> None:
    platform = {
        "platforms": {
            "kubernetes": {
                "deploymentSpec": {"executors": {"exec-a": {"secretAsEnv": [1], "pvcMount": [1]}}},
                "pipelineConfig": {"workspace": {"size": "1Gi"}},
            }
        }
    }
    root, executor, pipeline = unsupported(read(PLAIN), platform, "/tmp/x")
    assert executor == "executor exec-a: the kubernetes settings pvcMount, secretAsEnv are not supported yet"
    assert "workspace" in pipeline
    assert root.startswith("pipeline_root: ")
