"""A step's pod: names, command, mounts, resources, annotations."""

import json
from typing import Any

import pytest

from ketch.kube.types.core import Pod
from ketch.pipelines.ir.spec import (
    Accelerator,
    ComponentSpec,
    ContainerSpec,
    EnvVar,
    InputDefinitions,
    InputParameter,
    OutputDefinitions,
    OutputParameter,
    ParameterType,
    Resources,
)
from ketch.pipelines.steps.layout import place_of
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.steps.pods import pod_of
from ketch.pipelines.steps.step import PodProblem, Step, pod_name
from ketch.pipelines.values import NOTHING, Artifact, Values

COMPONENT = ComponentSpec(
    executor_label="e",
    input_definitions=InputDefinitions(
        parameters={"n": InputParameter(parameter_type=ParameterType.NUMBER_INTEGER, default_value=3.0)}
    ),
    output_definitions=OutputDefinitions(parameters={"out": OutputParameter()}),
)


def a_step(inputs: Values = NOTHING, attempt: int = 0, *, retries: bool = False, **container: Any) -> Step:
    return Step(
        namespace="kubeflow",
        run_id="run",
        task_id="id",
        path="root/train",
        pod_name=pod_name("p-x1", "train", "id", attempt),
        attempt=attempt,
        retries=retries,
        service_account="",
        names=Names(pipeline_task_name="train"),
        place=place_of("minio://mlpipeline/v2/artifacts", "p", "run", ("train", "id"), attempt),
        component=COMPONENT,
        container=ContainerSpec(**{"image": "python:3.11", **container}),
        inputs=inputs,
    )


def made(step: Step, *present: str) -> Pod:
    return pod_of(step, present)


def artifact(uri: str) -> Artifact:
    return Artifact(id=uri, name="a", type="system.Dataset", uri=uri)


def test_a_pod_belongs_to_its_run_and_runs_once() -> None:
    pod = made(a_step())
    assert pod.metadata.labels["pipelines.kubeflow.org/run-id"] == "run"
    assert pod.metadata.labels["pipelines.kubeflow.org/task-id"] == "id"
    assert pod.metadata.labels["pipelines.kubeflow.org/v2_component"] == "true"
    assert pod.spec.restart_policy == "Never"
    (main,) = pod.spec.containers
    assert main.termination_message_policy == "FallbackToLogsOnError"
    assert [item.name for item in main.env] == ["KFP_POD_NAME", "KFP_POD_UID", "KFP_RUN_ID"]


@pytest.mark.parametrize(
    ("run", "task"),
    [("p-x1", "train"), ("p" * 80, "For Loop_2" * 9), ("", "ä"), ("-a-", "-b-"), ("p" * 27 + "-x", "t")],
)
def test_names_are_host_names_and_follow_from_the_attempt(run: str, task: str) -> None:
    names = {pod_name(run, task, "id", attempt) for attempt in range(3)}
    assert len(names) == 3
    assert pod_name(run, task, "id", 0) in names
    for name in names:
        assert len(name) <= 63
        assert name.strip("-") == name
        assert all(letter in "abcdefghijklmnopqrstuvwxyz0123456789-" for letter in name)


def test_commands_are_expanded_and_values_are_no_variables() -> None:
    step = a_step(
        Values({"s": "$(HOME) $$ $x"}),
        command=["run", "$(command -v pip) $$(echo) $((1+1)) $$ $(MINE) $$(MINE)", "{{$.inputs.parameters['s']}}"],
        args=["{{$.inputs.parameters['n']}}", "{{$.outputs.parameters['out'].output_file}}"],
        env=[EnvVar(name="MINE", value="{{$.pipeline_task_name}}")],
        image="{{$.pipeline_task_name}}:1",
    )
    (main,) = made(step).spec.containers
    assert main.image == "train:1"
    assert main.command == (
        "run",
        "$(command -v pip) $$$$(echo) $((1+1)) $$$$ $(MINE) $$(MINE)",
        "$$(HOME) $$$$ $x",
    )
    assert main.args == ("3", "/minio/mlpipeline/v2/artifacts/p/run/train/id/out")
    assert (main.env[-1].name, main.env[-1].value) == ("MINE", "train")


def test_outputs_are_written_in_one_place_and_inputs_are_read_where_the_sdk_looks() -> None:
    inputs = {
        "a": (artifact("minio://b/x"), artifact("minio://b/x/part"), artifact("minio://b/x-y")),
        "b": (artifact("s3://b/x"), artifact("gs://b/k/"), artifact("minio://b/x")),
        "c": (artifact("ftp://h/x"), artifact("minio://b/missing"), artifact("minio://b/../x")),
    }
    there = {each.uri for several in inputs.values() for each in several} - {"minio://b/missing"}
    pod = made(a_step(Values({}, inputs)), *there)
    (main,) = pod.spec.containers
    sources = {volume.name: volume.csi for volume in pod.spec.volumes}
    found = {
        mount.mount_path: (sources[mount.name].volume_attributes["path"], mount.read_only)
        for mount in main.volume_mounts
    }
    assert found == {
        "/minio/mlpipeline/v2/artifacts/p/run/train/id": ("mlpipeline/v2/artifacts/p/run/train/id", False),
        "/minio/b/x": ("b/x", True),
        "/minio/b/x-y": ("b/x-y", True),
        "/s3/b/x": ("b/x", True),
        "/gcs/b/k": ("b/k", True),
    }
    assert all(csi.driver == "objects.ketch.dev" for csi in sources.values())


def test_attempts_are_told_apart() -> None:
    first, second = made(a_step(retries=True)), made(a_step(attempt=1, retries=True))
    assert first.metadata.name != second.metadata.name
    assert second.spec.volumes[0].csi.volume_attributes["path"].endswith("/train/id-1")
    assert (second.spec.containers[0].env[-1].name, second.spec.containers[0].env[-1].value) == ("KFP_RETRY_INDEX", "1")


@pytest.mark.parametrize(
    ("resources", "limits", "requests"),
    [
        (Resources(), {}, {}),
        (
            Resources(resource_cpu_limit="2", cpu_limit=2.0, resource_memory_request="512Mi"),
            {"cpu": "2"},
            {"memory": "512Mi"},
        ),
        (Resources(cpu_request=0.5, memory_limit=1.5), {"memory": "1.5G"}, {"cpu": "0.5"}),
        (Resources(resource_cpu_limit="{{$.inputs.parameters['n']}}"), {"cpu": "3"}, {}),
        (
            Resources(accelerator=Accelerator(resource_type="nvidia.com/gpu", resource_count="1", count="1")),
            {"nvidia.com/gpu": "1"},
            {},
        ),
        (Resources(accelerator=Accelerator(type="amd.com/gpu", count="2")), {"amd.com/gpu": "2"}, {}),
    ],
)
def test_resources(resources: Resources, limits: dict[str, str], requests: dict[str, str]) -> None:
    (main,) = made(a_step(resources=resources)).spec.containers
    assert (main.resources.limits, main.resources.requests) == (limits, requests)


def test_packages_are_announced() -> None:
    line = 'PIP_X=1 python3 -m pip install --quiet --index-url https://x/simple \'a==1\' && "$0" "$@"'
    pod = made(a_step(command=["sh", "-c", line]))
    assert pod.metadata.annotations["environment.ketch.dev/packages"] == '["a==1"]'
    assert pod.metadata.annotations["environment.ketch.dev/index-urls"] == '["https://x/simple"]'
    assert "environment.ketch.dev/packages" not in made(a_step()).metadata.annotations


@pytest.mark.parametrize(
    "container", [{"args": ["{{$.inputs.nothing}}"]}, {"resources": Resources(resource_cpu_limit="much")}]
)
def test_what_cannot_be_a_pod_is_said(container: dict[str, Any]) -> None:
    with pytest.raises(PodProblem, match=r"nothing|'much'"):
        made(a_step(**container))


def test_an_input_may_be_the_executors_input_or_the_place_of_its_output() -> None:
    words = ["{{$.inputs.parameters['s']}}", "{{$.inputs.parameters['t']}}", "{{$.inputs.parameters['u']}}"]
    step = a_step(Values({"s": "{{$}}", "t": "{{$.outputs.output_file}}", "u": "a {{$}}"}), args=words)
    document, output, text = made(step).spec.containers[0].args
    assert json.loads(document)["outputs"]["outputFile"] == step.place.output_file == output
    assert text == "a {{$}}"
