"""From JSON to a checked specification: every error names the field it stands in.

``read`` decodes strictly and then checks what types cannot say: names resolve, sources are exactly one, DAGs have no
cycle, components do not contain themselves, names are safe as path segments.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from ketch.pipelines.ir.expressions import ExpressionError, parse_condition, parse_selector
from ketch.pipelines.ir.leaks import without_leaks
from ketch.pipelines.ir.spec import (
    ALL_UPSTREAM_TASKS_COMPLETED,
    ComponentSpec,
    DagSpec,
    InputDefinitions,
    ParameterInput,
    PipelineSpec,
    TaskSpec,
)

T = TypeVar("T")

SCHEMA_VERSION = "2.1.0"
_PIPELINE_NAME = re.compile(r"^[a-z0-9][-a-z0-9]{0,127}$")
_SEGMENT = re.compile(r"^[^/\0]{1,200}$")  # becomes a directory's name below the artifact root
_STRATEGIES = frozenset(
    {"", "TRIGGER_STRATEGY_UNSPECIFIED", "ALL_UPSTREAM_TASKS_SUCCEEDED", ALL_UPSTREAM_TASKS_COMPLETED}
)
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)s$")
_PLACE = re.compile(r" - at `\$[^`]*`$")


class SpecError(ValueError):
    """The specification is wrong. ``field`` is its path (``root.dag.tasks.train.inputs``), empty for the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field, self.message = field, message


def read(document: Mapping[str, Any]) -> PipelineSpec:
    """The specification in ``document`` (the IR itself, not the wrapped form). Raises SpecError."""
    version = document.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise SpecError("schemaVersion", f"must be {SCHEMA_VERSION}, not {version!r}")
    spec = without_leaks(typed(document, PipelineSpec))
    _check(spec)
    return spec


def typed(value: Any, kind: type[T], path: str = "") -> T:
    """``value``, which stands at ``path``, as a message. Raises SpecError, which names the innermost wrong field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _located(kind, value, path) from error


def _located(kind: Any, value: Any, path: str) -> SpecError:
    """The innermost field that does not convert to its type; ``value`` as a whole does not."""
    for part, inner_kind, inner in _parts(kind, value):
        try:
            msgspec.convert(inner, inner_kind)
        except msgspec.ValidationError:
            return _located(inner_kind, inner, f"{path}.{part}" if path else part)
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return SpecError(path, _PLACE.sub("", str(error)))
    return SpecError(path, "cannot be read")


def _parts(kind: Any, value: Any) -> Iterator[tuple[str, Any, Any]]:
    """The fields, entries or elements of ``value`` that ``kind`` gives a type to."""
    alternatives = [each for each in get_args(kind) if each not in (NoneType, msgspec.UnsetType)]
    if get_origin(kind) in (Union, UnionType) and len(alternatives) == 1:
        kind = alternatives[0]
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            hints = get_type_hints(kind)
            for field in msgspec.structs.fields(kind):
                if field.encode_name in entries:
                    yield field.encode_name, hints[field.name], entries[field.encode_name]
        elif get_origin(kind) is Mapping:
            yield from ((str(key), get_args(kind)[1], item) for key, item in entries.items())
    elif isinstance(value, list) and get_origin(kind) is tuple:
        elements = cast("list[Any]", value)
        yield from ((str(index), get_args(kind)[0], item) for index, item in enumerate(elements))


def seconds(duration: str) -> float:
    """A protobuf duration (``30s``) in seconds; empty is 0. Raises SpecError."""
    if not duration:
        return 0.0
    found = _DURATION.match(duration)
    if found is None:
        raise SpecError("", f"{duration!r} is no duration such as 30s")
    return float(found[1])


def dependencies(task: TaskSpec) -> frozenset[str]:
    """The siblings that must end before the task can start: its producers and those it names."""
    names = set(task.dependent_tasks)
    for source in task.inputs.parameters.values():
        if source.task_output_parameter:
            names.add(source.task_output_parameter.producer_task)
        elif source.task_final_status:
            names.add(source.task_final_status.producer_task)
    for artifact in task.inputs.artifacts.values():
        if artifact.task_output_artifact:
            names.add(artifact.task_output_artifact.producer_task)
    return frozenset(names)


def components(spec: PipelineSpec) -> Iterator[tuple[str, ComponentSpec]]:
    """The root and every named component with their field paths."""
    yield "root", spec.root
    for name, component in spec.components.items():
        yield f"components.{name}", component


def _check(spec: PipelineSpec) -> None:
    name = spec.pipeline_info.name
    if not _PIPELINE_NAME.match(name):
        message = "must be at most 128 lower case letters, digits and dashes, not starting with a dash"
        raise SpecError("pipelineInfo.name", f"{name!r} {message}")
    if spec.root.dag is None:
        raise SpecError("root", "must have a dag")
    for path, component in components(spec):
        _check_component(spec, path, component)
    for label, executor in spec.deployment_spec.executors.items():
        kinds = [executor.container, executor.importer, executor.resolver, executor.custom_job]
        if sum(kind is not None for kind in kinds) != 1:
            raise SpecError(
                f"deploymentSpec.executors.{label}", "must be exactly one of container, importer, resolver, customJob"
            )
    _check_nesting(spec)


def _check_component(spec: PipelineSpec, path: str, component: ComponentSpec) -> None:
    for kind in (component.output_definitions.parameters, component.output_definitions.artifacts):
        for name in kind:
            _check_segment(f"{path}.outputDefinitions", name)
    if component.dag is None:
        if not component.executor_label:
            raise SpecError(path, "must have a dag or an executorLabel")
        if component.executor_label not in spec.deployment_spec.executors:
            raise SpecError(f"{path}.executorLabel", f"no executor is called {component.executor_label!r}")
        return
    for name, task in component.dag.tasks.items():
        where = f"{path}.dag.tasks.{name}"
        _check_segment(f"{path}.dag.tasks", name)
        if task.component_ref.name not in spec.components:
            raise SpecError(f"{where}.componentRef.name", f"no component is called {task.component_ref.name!r}")
        _check_task(where, component, component.dag, task)
    for name, output in component.dag.outputs.parameters.items():
        where = f"{path}.dag.outputs.parameters.{name}"
        chosen = output.value_from_oneof.parameter_selectors if output.value_from_oneof else ()
        selectors = (output.value_from_parameter,) if output.value_from_parameter else chosen
        if not selectors:
            raise SpecError(where, "must have valueFromParameter or valueFromOneof")
        _check_names(where, component.dag.tasks, (selector.producer_subtask for selector in selectors))
    for name, artifact in component.dag.outputs.artifacts.items():
        producers = (selector.producer_subtask for selector in artifact.artifact_selectors)
        _check_names(f"{path}.dag.outputs.artifacts.{name}", component.dag.tasks, producers)
    _check_acyclic(f"{path}.dag.tasks", component.dag)


def _check_task(path: str, component: ComponentSpec, dag: DagSpec, task: TaskSpec) -> None:
    inputs = component.input_definitions
    for name, source in task.inputs.parameters.items():
        _check_parameter(f"{path}.inputs.parameters.{name}", inputs, source)
    for name, artifact in task.inputs.artifacts.items():
        where = f"{path}.inputs.artifacts.{name}"
        if (artifact.task_output_artifact is None) == (artifact.component_input_artifact is None):
            raise SpecError(where, "must have exactly one source")
        if artifact.component_input_artifact is not None:
            _check_names(where, inputs.artifacts, (artifact.component_input_artifact,), "input artifact")
    _check_names(path, dag.tasks, dependencies(task))
    _check_policies(path, task)


def _check_parameter(path: str, inputs: InputDefinitions, source: ParameterInput) -> None:
    given = (
        source.task_output_parameter,
        source.runtime_value,
        source.component_input_parameter,
        source.task_final_status,
    )
    if sum(each is not None for each in given) != 1:
        raise SpecError(path, "must have exactly one source")
    if source.component_input_parameter is not None:
        _check_names(path, inputs.parameters, (source.component_input_parameter,), "input parameter")
    if source.runtime_value is not None and source.runtime_value.constant is msgspec.UNSET:
        raise SpecError(f"{path}.runtimeValue", "must have a constant")
    if source.parameter_expression_selector:
        _checked(f"{path}.parameterExpressionSelector", parse_selector, source.parameter_expression_selector)


def _check_policies(path: str, task: TaskSpec) -> None:
    if task.trigger_policy.condition:
        _checked(f"{path}.triggerPolicy.condition", parse_condition, task.trigger_policy.condition)
    if task.trigger_policy.strategy not in _STRATEGIES:
        raise SpecError(f"{path}.triggerPolicy.strategy", f"{task.trigger_policy.strategy!r} is unknown")
    if task.parameter_iterator and task.artifact_iterator:
        raise SpecError(path, "must not have both a parameterIterator and an artifactIterator")
    if task.parameter_iterator:
        items = task.parameter_iterator.items
        if not items.raw and not items.input_parameter:
            raise SpecError(f"{path}.parameterIterator.items", "must have raw or inputParameter")
    _checked(f"{path}.retryPolicy.backoffDuration", seconds, task.retry_policy.backoff_duration)
    _checked(f"{path}.retryPolicy.backoffMaxDuration", seconds, task.retry_policy.backoff_max_duration)


def _checked(path: str, check: Any, text: str) -> None:
    try:
        check(text)
    except (ExpressionError, SpecError) as error:
        raise SpecError(path, str(error)) from error


def _check_segment(path: str, name: str) -> None:
    if not _SEGMENT.match(name) or name in (".", ".."):
        raise SpecError(path, f"{name!r} is no name: it must not be empty, '.' or '..', or hold a slash")


def _check_names(path: str, known: Mapping[str, Any], names: Iterable[str], what: str = "task") -> None:
    for name in names:
        if name not in known:
            raise SpecError(path, f"there is no {what} {name!r}")


def _check_acyclic(path: str, dag: DagSpec) -> None:
    waiting = {name: set(dependencies(task)) for name, task in dag.tasks.items()}
    dependents: dict[str, list[str]] = {name: [] for name in waiting}
    for name, needed in waiting.items():
        for each in needed:
            dependents[each].append(name)
    ready = [name for name, needed in waiting.items() if not needed]
    while ready:
        name = ready.pop()
        del waiting[name]
        for dependent in dependents[name]:
            waiting[dependent].discard(name)
            if not waiting[dependent]:
                ready.append(dependent)
    if waiting:
        raise SpecError(path, f"these tasks wait for each other: {', '.join(sorted(waiting))}")


def _check_nesting(spec: PipelineSpec) -> None:
    """A component that contains itself would never end."""
    done: set[str] = set()
    path: list[str] = []
    stack: list[tuple[str, bool]] = [(name, False) for name in spec.components]
    while stack:
        name, leaving = stack.pop()
        if leaving:
            path.pop()
            done.add(name)
            continue
        if name in path:
            raise SpecError(f"components.{name}", "contains itself")
        if name in done:
            continue
        path.append(name)
        stack.append((name, True))
        dag = spec.components[name].dag
        stack.extend((task.component_ref.name, False) for task in (dag.tasks.values() if dag else ()))
