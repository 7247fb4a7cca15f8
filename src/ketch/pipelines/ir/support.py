"""What a specification asks for that this installation does not do: refused when a run is made, never half done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from ketch.metadata.objects import KeyOutside, key_of
from ketch.pipelines.ir.reading import components
from ketch.pipelines.ir.spec import ComponentSpec, ExecutorSpec, ParameterType, PipelineSpec

_WORKSPACE: Final = "{{$.workspace_path}}"
_NO_WORKSPACE: Final = "the workspace (dsl.WORKSPACE_PATH_PLACEHOLDER) is not supported yet"
_CLAIM_IMAGES: Final = ("argostub/createpvc", "argostub/deletepvc")


def unsupported(
    spec: PipelineSpec, platform: Mapping[str, Any] | None = None, pipeline_root: str = ""
) -> Sequence[str]:
    """Sentences, one for each thing that cannot be done, naming the task or field; none when the run can be made."""
    return [*_of_root(pipeline_root), *_of_platform(platform or {}), *_of_components(spec)]


def _of_root(pipeline_root: str) -> Iterator[str]:
    if pipeline_root:
        try:
            key_of(pipeline_root)
        except KeyOutside as error:
            yield f"pipeline_root: {error}"


def _of_platform(platform: Mapping[str, Any]) -> Iterator[str]:
    for name, settings in _mapping(platform, "platforms").items():
        for label, config in _mapping(settings, "deploymentSpec", "executors").items():
            if config:
                yield f"executor {label}: the {name} settings {', '.join(sorted(config))} are not supported yet"
        pipeline = _mapping(settings, "pipelineConfig")
        if pipeline:
            yield f"pipelineConfig: the {name} settings {', '.join(sorted(pipeline))} are not supported yet"


def _mapping(value: Any, *keys: str) -> Mapping[str, Any]:
    """The object at the end of ``keys``, empty when there is none."""
    for key in keys:
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _of_components(spec: PipelineSpec) -> Iterator[str]:
    users = _users(spec)
    for path, component in components(spec):
        if component.single_platform_specs:
            yield f"{path}: platform settings inside a component are not supported yet"
        name = users.get(path.removeprefix("components."), path)
        if component.dag is None:
            for message in _of_executor(component, spec.executor(component)):
                yield f"task {name}: {message}"
            continue
        for task_name, task in component.dag.tasks.items():
            constants = [
                source.runtime_value.constant for source in task.inputs.parameters.values() if source.runtime_value
            ]
            if any(_WORKSPACE in str(constant) for constant in constants):
                yield f"task {task_name}: {_NO_WORKSPACE}"


def _users(spec: PipelineSpec) -> Mapping[str, str]:
    """A task that runs each component, by the component's name."""
    tasks = (
        (task.component_ref.name, name)
        for _, component in components(spec)
        if component.dag
        for name, task in component.dag.tasks.items()
    )
    return dict(tasks)


def _of_executor(component: ComponentSpec, executor: ExecutorSpec) -> Iterator[str]:
    if executor.resolver is not None:
        yield "resolver executors are not supported"
    if executor.custom_job is not None:
        yield "custom jobs (Vertex AI) are not supported"
    if executor.importer and executor.importer.download_to_workspace:
        yield "importing into the workspace is not supported yet"
    if component.task_config_passthroughs:
        yield "task_config_passthroughs are not supported yet"
    for name, parameter in component.input_definitions.parameters.items():
        if parameter.parameter_type is ParameterType.TASK_CONFIG:
            yield f'the TaskConfig input "{name}" is not supported yet'
    container = executor.container
    if container is None:
        return
    if container.image in _CLAIM_IMAGES:
        yield "creating and deleting PersistentVolumeClaims is not supported yet"
    texts = (*container.command, *container.args, *(item.value for item in container.env))
    if any(_WORKSPACE in text for text in texts):
        yield _NO_WORKSPACE
