"""Steps and pods to try settings on."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.containers import Container, EnvVar, VolumeMount
from ketch.kube.types.pods import Pod, PodSpec
from ketch.kube.types.volumes import EmptyDirVolume, Volume
from ketch.pipelines.ir.spec import ComponentSpec, ContainerSpec, ParameterInput
from ketch.pipelines.kubernetes.amending import amend
from ketch.pipelines.steps.layout import place_of
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.steps.step import Step
from ketch.pipelines.values import Values

GIVEN: Mapping[str, Any] = {"name": "from-input", "nothing": None, "number": 3, "empty": ""}
MADE: Mapping[tuple[str, str], Any] = {("make", "Output"): "from-task"}


def resolve(source: ParameterInput, given: Mapping[str, Any] = GIVEN) -> Any:
    """As the engine does: inputs around the task, outputs of its siblings."""
    if source.component_input_parameter is not None:
        return given.get(source.component_input_parameter, UNSET)
    producer = source.task_output_parameter
    return MADE.get((producer.producer_task, producer.output_parameter_key), UNSET) if producer else UNSET


def a_step(platform: Mapping[str, Any], given: Mapping[str, Any] = GIVEN) -> Step:
    return Step(
        namespace="kubeflow",
        run_id="run",
        task_id="id",
        path="root/train",
        pod_name="p",
        attempt=0,
        retries=False,
        service_account="",
        names=Names(pipeline_job_uuid="run", pipeline_task_name="train"),
        place=place_of("minio://mlpipeline/v2/artifacts", "p", "run", ("train", "id"), 0),
        component=ComponentSpec(executor_label="e"),
        container=ContainerSpec(image="python:3.11"),
        inputs=Values({"size": "big"}),
        platform=platform,
        resolve=lambda source: resolve(source, given),
    )


def a_pod() -> Pod:
    main = Container(
        name="main",
        image="python:3.11",
        env=(EnvVar(name="MINE", value="1"),),
        volume_mounts=(VolumeMount(name="data", mount_path="/data"),),
    )
    spec = PodSpec(containers=(main,), volumes=(Volume(name="data", empty_dir=EmptyDirVolume()),))
    metadata = ObjectMeta(name="p", labels={"app": "ours"}, annotations={"note": "ours"})
    return Pod(metadata=metadata, spec=spec)


def amended(platform: Mapping[str, Any], given: Mapping[str, Any] = GIVEN) -> Pod:
    return amend(a_step(platform, given), a_pod())


def constant(value: Any) -> Mapping[str, Any]:
    return {"runtimeValue": {"constant": value}}


def of_input(name: str) -> Mapping[str, Any]:
    return {"componentInputParameter": name}


def of_task(task: str, key: str = "Output") -> Mapping[str, Any]:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}
