"""What the compiler writes is read whole; what is wrong is named by its field."""

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from kfp.pipeline_spec import pipeline_spec_pb2

from ketch.pipelines.ir import spec as declared
from ketch.pipelines.ir.reading import SpecError, dependencies, read, seconds

GOOD: Mapping[str, Any] = {
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.3",
    "pipelineInfo": {"name": "p"},
    "deploymentSpec": {"executors": {"exec-a": {"container": {"image": "i"}}}},
    "components": {
        "comp-a": {"executorLabel": "exec-a", "outputDefinitions": {"parameters": {"x": {"parameterType": "STRING"}}}},
        "comp-d": {"dag": {"tasks": {"a": {"componentRef": {"name": "comp-a"}}}}},
    },
    "root": {
        "inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1.0}}},
        "dag": {
            "tasks": {
                "a": {"componentRef": {"name": "comp-a"}},
                "b": {
                    "componentRef": {"name": "comp-a"},
                    "dependentTasks": ["a"],
                    "inputs": {
                        "parameters": {
                            "p": {"taskOutputParameter": {"producerTask": "d", "outputParameterKey": "x"}},
                            "q": {"componentInputParameter": "n"},
                        }
                    },
                },
                "d": {"componentRef": {"name": "comp-d"}},
            }
        },
    },
}


def broken(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(dict(GOOD))
    *above, last = path.split("/")
    place = document
    for key in above:
        place = place.setdefault(key, {})
    place[last] = value
    return document


def test_a_good_specification() -> None:
    spec = read(GOOD)
    assert spec.root.dag is not None
    assert dependencies(spec.root.dag.tasks["b"]) == {"a", "d"}
    assert spec.executor(spec.component(spec.root.dag.tasks["a"])).container == declared.ContainerSpec(image="i")


B = "root/dag/tasks/b"


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("schemaVersion", "2.0.0", "schemaVersion", "must be 2.1.0"),
        ("pipelineInfo/name", "A", "pipelineInfo.name", "lower case"),
        ("root/dag", None, "root", "must have a dag or an executorLabel|must have a dag"),
        ("root/surprise", 1, "root", "unknown field `surprise`"),
        ("components/comp-a/executorLabel", "exec-z", "components.comp-a.executorLabel", "no executor"),
        ("deploymentSpec/executors/exec-a/importer", {"artifactUri": {}}, "deploymentSpec.executors.exec-a",
         "exactly one"),
        (f"{B}/componentRef/name", "comp-z", "root.dag.tasks.b.componentRef.name", "no component"),
        (f"{B}/dependentTasks", ["z"], "root.dag.tasks.b", "no task 'z'"),
        (f"{B}/inputs/parameters/p", {}, "root.dag.tasks.b.inputs.parameters.p", "exactly one source"),
        (f"{B}/inputs/parameters/q/componentInputParameter", "z", "root.dag.tasks.b.inputs.parameters.q", "no input"),
        (f"{B}/inputs/artifacts/r", {"componentInputArtifact": "z"}, "root.dag.tasks.b.inputs.artifacts.r", "no input"),
        (f"{B}/triggerPolicy/condition", "1 ==", "root.dag.tasks.b.triggerPolicy.condition", "cannot be read"),
        (f"{B}/triggerPolicy/strategy", "WHIM", "root.dag.tasks.b.triggerPolicy.strategy", "unknown"),
        (f"{B}/retryPolicy/backoffDuration", "1h", "root.dag.tasks.b.retryPolicy.backoffDuration", "no duration"),
        ("root/dag/tasks/a/dependentTasks", ["b"], "root.dag.tasks", "wait for each other: a, b"),
        ("root/dag/tasks/..", {"componentRef": {"name": "comp-a"}}, "root.dag.tasks", "no name"),
        ("components/comp-a/inputDefinitions/artifacts/a", {"x": 1}, "components.comp-a.inputDefinitions.artifacts.a",
         "Object contains unknown field `x`$"),
        ("deploymentSpec/executors/exec-a/container/args", ["a", 1], "deploymentSpec.executors.exec-a.container.args.1",
         "Expected `str`, got `int`$"),
        (f"{B}/inputs/parameters/p/taskOutputParameter/producerTask", 7,
         "root.dag.tasks.b.inputs.parameters.p.taskOutputParameter.producerTask", "Expected `str`"),
        ("components/comp-d/dag/tasks/a/componentRef/name", "comp-d", "components.comp-d", "contains itself"),
        ("root/dag/outputs/parameters/o", {}, "root.dag.outputs.parameters.o", "must have valueFrom"),
        ("root/dag/outputs/parameters/o", {"valueFromParameter": {"producerSubtask": "z", "outputParameterKey": "x"}},
         "root.dag.outputs.parameters.o", "no task 'z'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(path: str, value: Any, field: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read(broken(path, value))
    assert caught.value.field == field


def test_names_cannot_leave_their_directory() -> None:
    document = broken("components/comp-a/outputDefinitions/parameters", {"../../x": {"parameterType": "STRING"}})
    with pytest.raises(SpecError, match="no name"):
        read(document)


def test_durations() -> None:
    assert [seconds(text) for text in ("", "0s", "30s", "1.5s")] == [0, 0, 30, 1.5]


MESSAGES = {
    "PipelineSpec": (declared.PipelineSpec, pipeline_spec_pb2.PipelineSpec),
    "ComponentSpec": (declared.ComponentSpec, pipeline_spec_pb2.ComponentSpec),
    "PipelineTaskSpec": (declared.TaskSpec, pipeline_spec_pb2.PipelineTaskSpec),
    "Container": (declared.ContainerSpec, pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec),
    "Resources": (declared.Resources, pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec),
    "Importer": (declared.ImporterSpec, pipeline_spec_pb2.PipelineDeploymentConfig.ImporterSpec),
    "InputParameter": (declared.InputParameter, pipeline_spec_pb2.ComponentInputsSpec.ParameterSpec),
    "InputArtifact": (declared.InputArtifact, pipeline_spec_pb2.ComponentInputsSpec.ArtifactSpec),
    "OutputArtifact": (declared.OutputArtifact, pipeline_spec_pb2.ComponentOutputsSpec.ArtifactSpec),
    "ParameterInput": (declared.ParameterInput, pipeline_spec_pb2.TaskInputsSpec.InputParameterSpec),
    "ArtifactInput": (declared.ArtifactInput, pipeline_spec_pb2.TaskInputsSpec.InputArtifactSpec),
    "RetryPolicy": (declared.RetryPolicy, pipeline_spec_pb2.PipelineTaskSpec.RetryPolicy),
    "RuntimeValue": (declared.RuntimeValue, pipeline_spec_pb2.ValueOrRuntimeParameter),
    "ArtifactType": (declared.ArtifactType, pipeline_spec_pb2.ArtifactTypeSchema),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_that_a_compiler_can_write_is_declared(name: str) -> None:
    ours, theirs = MESSAGES[name]
    names = {field.encode_name for field in msgspec.structs.fields(ours)}
    assert names == {field.json_name for field in theirs.DESCRIPTOR.fields}
