"""From the platform document to checked configurations: every error names the field it stands in.

Platforms other than Kubernetes are none of ours: a specification may be meant for several.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from ketch.pipelines.ir.reading import SpecError, components, dependencies, typed
from ketch.pipelines.ir.spec import ComponentSpec, ParameterInput, PipelineSpec, TaskSpec
from ketch.pipelines.kubernetes.checks import check_executor
from ketch.pipelines.kubernetes.sources import input_candidates, parameters
from ketch.pipelines.kubernetes.spec import ExecutorConfig, KubernetesSpec

PLATFORM: Final = "kubernetes"
_PATH: Final = f"platforms.{PLATFORM}"
_CHANNEL: Final = "{{channel:"
_NOTHING: Final = KubernetesSpec()


def read_platform(platform: Mapping[str, Any] | None, pipeline: PipelineSpec) -> KubernetesSpec:
    """What ``platform``, the document beside ``pipeline``, says of Kubernetes. Raises SpecError."""
    if not platform:
        return _NOTHING
    platforms: Any = platform.get("platforms") or {}
    if not isinstance(platforms, Mapping):
        raise SpecError("platforms", "must be an object")
    document = cast("Mapping[str, Any]", platforms).get(PLATFORM)
    if document is None:
        return _NOTHING
    spec = typed(document, KubernetesSpec, _PATH)
    for label, config in spec.deployment_spec.executors.items():
        path = f"{_PATH}.deploymentSpec.executors.{label}"
        if label not in pipeline.deployment_spec.executors:
            raise SpecError(path, "the pipeline has no executor of this name")
        check_executor(path, config)
        _check_parameters(path, config, pipeline, label)
    return spec


def _check_parameters(path: str, config: ExecutorConfig, pipeline: PipelineSpec, label: str) -> None:
    """All that ``config`` refers to exists wherever the executor is used."""
    sources = list(parameters(config))
    for field, source in sources:
        _check_source(f"{path}.{field}", source)
    if not sources:
        return
    for component, task in _uses(pipeline, label):
        for field, source in sources:
            _check_reference(f"{path}.{field}", source, component, task)


def _check_source(path: str, source: ParameterInput) -> None:
    given = (source.task_output_parameter, source.runtime_value, source.component_input_parameter)
    if sum(each is not None for each in given) != 1:
        choices = "runtimeValue, taskOutputParameter and componentInputParameter"
        raise SpecError(path, f"must have exactly one of {choices}")
    if source.runtime_value is not None and _CHANNEL in str(source.runtime_value.constant):
        raise SpecError(path, "the compiler does not resolve f-strings here: give the parameter or output itself")


def _check_reference(path: str, source: ParameterInput, component: ComponentSpec, task: TaskSpec) -> None:
    if (name := source.component_input_parameter) is not None:
        if not any(candidate in component.input_definitions.parameters for candidate, _ in input_candidates(name)):
            raise SpecError(path, f"there is no input parameter {name!r} around the task")
    elif source.task_output_parameter is not None:
        producer = source.task_output_parameter.producer_task
        if component.dag is None or producer not in component.dag.tasks:
            raise SpecError(path, f"there is no task {producer!r} beside the one that uses it")
        if producer not in dependencies(task):
            raise SpecError(path, f"the task must wait for {producer!r}: name it in dependentTasks")


def _uses(pipeline: PipelineSpec, label: str) -> Iterable[tuple[ComponentSpec, TaskSpec]]:
    """The DAGs and tasks in which the executor ``label`` runs."""
    for _, component in components(pipeline):
        for task in component.dag.tasks.values() if component.dag else ():
            if pipeline.component(task).executor_label == label:
                yield component, task
