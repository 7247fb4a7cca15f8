"""The executor's documents: what it is given, and what is taken from what it wrote."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from ketch.pipelines.ir.spec import ArtifactType, ComponentSpec, OutputArtifact, OutputDefinitions, OutputParameter
from ketch.pipelines.ir.spec import ParameterType as Type
from ketch.pipelines.steps.documents import OutputProblem, StepOutput, executor_input
from ketch.pipelines.steps.layout import place_of
from ketch.pipelines.values import Artifact, Values

PLACE = place_of("minio://mlpipeline/v2/artifacts?region=x", "p", "run", ("train", "id"), 0)
HOME = "minio://mlpipeline/v2/artifacts/p/run/train/id"
COMPONENT = ComponentSpec(
    executor_label="e",
    output_definitions=OutputDefinitions(
        parameters={"Output": OutputParameter(parameter_type=Type.NUMBER_INTEGER)},
        artifacts={
            "model": OutputArtifact(artifact_type=ArtifactType(schema_title="system.Model"), metadata={"a": 1.0})
        },
    ),
)
DATA = Artifact(id="77", name="data", type="system.Dataset", uri="s3://b/k", metadata={"n": 1.0})


def test_the_input_is_what_upstream_writes() -> None:
    document = executor_input(COMPONENT, Values({"n": 5.0, "s": "x"}, {"data": (DATA,)}), PLACE)
    assert document == {
        "inputs": {
            "parameterValues": {"n": 5, "s": "x"},
            "artifacts": {
                "data": {
                    "artifacts": [
                        {
                            "name": "77",
                            "type": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"},
                            "uri": "s3://b/k",
                            "metadata": {"n": 1},
                        }
                    ]
                }
            },
        },
        "outputs": {
            "parameters": {"Output": {"outputFile": f"/{HOME.replace('://', '/')}/Output"}},
            "artifacts": {
                "model": {
                    "artifacts": [
                        {
                            "name": "model",
                            "type": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"},
                            "uri": f"{HOME}/model",
                            "metadata": {"a": 1},
                        }
                    ]
                }
            },
            "outputFile": f"/{HOME.replace('://', '/')}/executor_output.json",
        },
    }
    json_format.ParseDict(dict(document), pipeline_spec_pb2.ExecutorInput())


def test_attempts_have_places_of_their_own() -> None:
    places = {place_of("minio://b", "p", "r", ("t", identity), attempt).uri for identity in "ab" for attempt in (0, 1)}
    assert len(places) == 4


def outputs(document: Any, **files: bytes) -> Values:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return StepOutput(COMPONENT, PLACE, text).values(files, lambda key, position: f"{key}-{position}")


def test_the_document_goes_before_files_and_is_laid_over_the_plan() -> None:
    written = {"name": "model", "uri": f"{HOME}/model", "metadata": {"b": 2.0}}
    values = outputs(
        {"parameterValues": {"Output": 3.0}, "artifacts": {"model": {"artifacts": [written]}}}, Output=b"4"
    )
    assert values.parameters == {"Output": 3}
    model = Artifact(id="model-0", name="model", type="system.Model", uri=f"{HOME}/model", metadata={"a": 1, "b": 2})
    assert values.artifacts == {"model": (model,)}


def test_files_serve_where_the_document_says_nothing() -> None:
    assert StepOutput(COMPONENT, PLACE, None).files == ["Output"]
    values = outputs(b"", Output=b" 4\n")
    assert values.parameters == {"Output": 4}
    assert values.artifacts["model"][0].uri == f"{HOME}/model"


def test_python_numbers_that_json_lacks_become_texts() -> None:
    values = outputs(b'{"parameterValues": {"Output": 1}, "artifacts": {"model": {"artifacts": [{"metadata": '
                     b'{"confidenceThreshold": [Infinity, NaN, 0.5]}}]}}}')  # fmt: skip
    assert values.artifacts["model"][0].metadata["confidenceThreshold"] == ["Infinity", "NaN", 0.5]


def test_a_custom_path_below_the_tasks_place_is_kept() -> None:
    custom = f"/{HOME.replace('://', '/')}/other"
    written = {"artifacts": [{"name": "model", "uri": f"{HOME}/model", "metadata": {}, "custom_path": custom}]}
    values = outputs({"parameterValues": {"Output": 1}, "artifacts": {"model": written}})
    assert values.artifacts["model"][0].uri == f"{HOME}/other"


@pytest.mark.parametrize(
    ("document", "files", "message"),
    [
        ({}, {}, 'failed to read output parameter "Output": the step did not write /minio/'),
        ({"parameterValues": {"Output": "x"}}, {}, "should be NUMBER_INTEGER, but the step gave string"),
        ({}, {"Output": b"x"}, "should be NUMBER_INTEGER, but the step wrote 'x'"),
        ({}, {"Output": b"\xff"}, "is not UTF-8 text"),
        (b"{", {}, "the step's output document cannot be read"),
        (
            {"parameterValues": {"Output": 1}, "artifacts": {"model": {"artifacts": [{"custom_path": "/tmp/x"}]}}},
            {},
            "was written to /tmp/x, which is gone with the step",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_said(document: Any, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(OutputProblem, match=message):
        outputs(document, **files)
