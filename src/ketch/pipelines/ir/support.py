"""What a specification asks for that nothing here can do: refused when a run is made, never half done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ketch.metadata.objects import KeyOutside
from ketch.metadata.stores.table import split
from ketch.pipelines.ir.platform import pipeline_config
from ketch.pipelines.ir.reading import SpecError, components
from ketch.pipelines.ir.spec import ExecutorSpec, PipelineSpec

_WORKSPACE: Final = "{{$.workspace_path}}"
_NO_WORKSPACE: Final = (
    "uses the workspace, but the pipeline has none: give it PipelineConfig(workspace=WorkspaceConfig(size=...))"
)


def unsupported(
    spec: PipelineSpec, platform: Mapping[str, Any] | None = None, pipeline_root: str = ""
) -> Sequence[str]:
    """Sentences, one for each thing that cannot be done, naming the task or field; none when the run can be made."""
    refused = [*_of_root(pipeline_root), *_of_executors(spec)]
    try:
        config = pipeline_config(platform)
    except SpecError as error:
        return [*refused, str(error)]
    if config.workspace is None:
        refused += [f"task {name} {_NO_WORKSPACE}" for name in _users_of_workspace(spec)]
    return refused


def _of_root(pipeline_root: str) -> Iterator[str]:
    if pipeline_root:
        try:
            split(pipeline_root)
        except KeyOutside as error:
            yield f"pipeline_root: {error}"


def _of_executors(spec: PipelineSpec) -> Iterator[str]:
    users = _users(spec)
    for path, component in components(spec):
        if component.dag is None:
            name = users.get(path.removeprefix("components."), path)
            for message in _of_executor(spec.executor(component)):
                yield f"task {name}: {message}"


def _of_executor(executor: ExecutorSpec) -> Iterator[str]:
    if executor.resolver is not None:
        yield "resolver executors are not supported"
    if executor.custom_job is not None:
        yield "custom jobs (Vertex AI) are not supported"


def _users(spec: PipelineSpec) -> Mapping[str, str]:
    """A task that runs each component, by the component's name."""
    tasks = (
        (task.component_ref.name, name)
        for _, component in components(spec)
        if component.dag
        for name, task in component.dag.tasks.items()
    )
    return dict(tasks)


def _users_of_workspace(spec: PipelineSpec) -> Iterator[str]:
    users = _users(spec)
    for path, component in components(spec):
        if component.dag is None:
            if _needs_workspace(spec.executor(component)):
                yield users.get(path.removeprefix("components."), path)
            continue
        for name, task in component.dag.tasks.items():
            values = (each.runtime_value.constant for each in task.inputs.parameters.values() if each.runtime_value)
            if any(_WORKSPACE in str(value) for value in values):
                yield name


def _needs_workspace(executor: ExecutorSpec) -> bool:
    container = executor.container
    if container is None:
        return bool(executor.importer and executor.importer.download_to_workspace)
    return any(
        _WORKSPACE in text for text in (*container.command, *container.args, *(item.value for item in container.env))
    )
