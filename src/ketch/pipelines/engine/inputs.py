"""Resolving what a task gets and what a DAG gives. Pure: specification and ended siblings in, values out."""

import json
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import UNSET

from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.ir.expressions import ExpressionError, select
from ketch.pipelines.ir.spec import ArtifactInput, ComponentSpec, ParameterInput, ParameterType, TaskSpec
from ketch.pipelines.records.states import SKIPPED, SUCCEEDED
from ketch.pipelines.steps.placeholders import Names, PlaceholderError, Scope, expand
from ketch.pipelines.values import Artifact, ValueProblem, Values, convert, plain, to_text

_CHANNEL = "pipelinechannel--"
_PART = "-subvar-"
_FAILURE_CODE = 2  # google.rpc.Code UNKNOWN: a step's failure has no better one


class InputProblem(Exception):
    """A task cannot get its inputs; the message says which and why."""


def root_inputs(component: ComponentSpec, parameters: Mapping[str, Any]) -> Values:
    """The pipeline's own inputs: the user's values, defaults for the rest; null is none. Raises InputProblem."""
    declared = component.input_definitions.parameters
    for name in parameters:
        if name not in declared:
            raise InputProblem(f'the pipeline has no parameter "{name}"')
    try:
        given = {
            name: convert(value, declared[name].parameter_type, name)
            for name, value in parameters.items()
            if value is not None
        }
    except ValueProblem as error:
        raise InputProblem(str(error)) from error
    return _completed(component, given, {})


def task_inputs(task: TaskSpec, component: ComponentSpec, parent: Node, names: Names) -> Values:
    """What ``task`` gets from its siblings and its DAG's inputs. Raises InputProblem."""
    constants: list[str] = []
    parameters: dict[str, Any] = {}
    for name, source in task.inputs.parameters.items():
        value = _parameter(name, source, parent, names)
        if value is UNSET or value is None:
            continue
        parameters[name] = value
        if source.runtime_value is not None:
            constants.append(name)
    scope = Scope(names=names, parameters=dict(parameters))
    try:
        for name in constants:
            parameters[name] = expand(plain(parameters[name]), scope)
        declared = component.input_definitions.parameters
        for name, value in parameters.items():
            given = plain(value)
            parameters[name] = convert(given, declared[name].parameter_type, name) if name in declared else given
    except (PlaceholderError, ValueProblem) as error:
        raise InputProblem(str(error)) from error
    artifacts: dict[str, tuple[Artifact, ...]] = {}
    for name, artifact_source in task.inputs.artifacts.items():
        found = _artifacts(artifact_source, parent)
        if found is not None:
            artifacts[name] = found
    return _completed(component, parameters, artifacts, _item_input(task), task)


def artifacts_json(inputs: Values) -> Mapping[str, Any]:
    """The artifacts of a task as its condition sees them."""
    return {
        key: {"artifacts": [msgspec.to_builtins(artifact) for artifact in several]}
        for key, several in inputs.artifacts.items()
    }


def named_value(source: ParameterInput, node: Node, names: Names) -> Any:
    """What ``source`` means at the place of ``node``, UNSET when it has no value. Raises InputProblem.

    The compiler names producers as they are called where they run, which may be further out; what is passed down from
    there is an input of the task itself.
    """
    task = node.parent if node.iteration is not None and node.parent else node
    value = _parameter("", source, task.parent, names) if task.parent else UNSET
    if value is UNSET or value is None:
        given, name = node.inputs.parameters, source.component_input_parameter
        if source.task_output_parameter is not None:
            output = source.task_output_parameter
            name = f"{_CHANNEL}{output.producer_task}-{output.output_parameter_key}"
        around: Mapping[str, Any] = task.parent.inputs.parameters if task.parent else {}
        for key in (name, f"{_CHANNEL}{name}") if name else ():
            value = given.get(key, around.get(key, value))
    if source.runtime_value is None:
        return value
    try:
        return expand(plain(value), Scope(names=names, parameters=node.inputs.parameters))
    except PlaceholderError as error:
        raise InputProblem(str(error)) from error


def loop_items(task: TaskSpec, inputs: Values) -> list[Any] | tuple[Artifact, ...] | None:
    """What the task iterates over; None when it is no loop. Raises InputProblem."""
    if task.artifact_iterator:
        return inputs.artifacts.get(task.artifact_iterator.items.input_artifact, ())
    if task.parameter_iterator is None:
        return None
    items = task.parameter_iterator.items
    if items.raw:
        value: Any = items.raw
    elif items.input_parameter in inputs.parameters:
        value = inputs.parameters[items.input_parameter]
    else:
        raise InputProblem(f'the loop\'s items "{items.input_parameter}" have no value')
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise InputProblem(f"the loop's items are not a JSON list: {value[:100]!r}") from error
    if not isinstance(value, list):
        raise InputProblem(f"the loop's items are not a list: {to_text(value)[:100]}")
    return cast("list[Any]", plain(value))


def item_alone(task: TaskSpec, item: Any) -> Values:
    """What an iteration has beyond its loop's inputs."""
    name = cast("str", _item_input(task))
    return Values({}, {name: (item,)}) if task.artifact_iterator else Values({name: item})


def with_item(task: TaskSpec, component: ComponentSpec, inputs: Values, item: Any) -> Values:
    """A loop's inputs as one iteration sees them: with the item, and those of its parts that the component names.

    The compiler mostly selects parts where they are used, but sometimes only declares them.
    """
    own = item_alone(task, item)
    parts: dict[str, Any] = {}
    if isinstance(item, Mapping):
        prefix = f"{_item_input(task)}{_PART}"
        for name in component.input_definitions.parameters:
            key = name.removeprefix(prefix)
            if key != name and key in item and name not in inputs.parameters:
                parts[name] = item[key]
    return Values({**inputs.parameters, **parts, **own.parameters}, {**inputs.artifacts, **own.artifacts})


def dag_outputs(node: Node) -> Values:
    """What a DAG gives, once its tasks have ended; outputs of tasks that did not run are absent."""
    dag, scope = node.component.dag, node.scope
    if dag is None or scope is None:
        return Values()
    parameters: dict[str, Any] = {}
    for name, output in dag.outputs.parameters.items():
        chosen = output.value_from_oneof.parameter_selectors if output.value_from_oneof else ()
        for selector in (output.value_from_parameter,) if output.value_from_parameter else chosen:
            child = scope.children.get(selector.producer_subtask)
            if child and child.well and selector.output_parameter_key in child.outputs.parameters:
                parameters[name] = child.outputs.parameters[selector.output_parameter_key]
                break
    artifacts: dict[str, tuple[Artifact, ...]] = {}
    for name, artifact in dag.outputs.artifacts.items():
        for choice in artifact.artifact_selectors:
            child = scope.children.get(choice.producer_subtask)
            if child and child.well and choice.output_artifact_key in child.outputs.artifacts:
                artifacts[name] = child.outputs.artifacts[choice.output_artifact_key]
                break
    return Values(parameters, artifacts)


def loop_outputs(node: Node) -> Values:
    """What a loop gives: per parameter the list of its iterations' values, per artifact all of them, in order."""
    loop = node.iterations
    if loop is None:
        return Values()
    outputs = [loop.children[index].outputs for index in sorted(loop.children)]
    definitions = node.component.output_definitions
    parameters = {
        name: [each.parameters[name] for each in outputs if name in each.parameters] for name in definitions.parameters
    }
    artifacts = {
        name: tuple(artifact for each in outputs for artifact in each.artifacts.get(name, ()))
        for name in definitions.artifacts
    }
    return Values(parameters, artifacts)


def final_status(name: str, node: Node | None, names: Names) -> Mapping[str, Any]:
    """PipelineTaskFinalStatus of a task that has ended, or was left out: then it has no node.

    The states are those that the SDK documents (SUCCEEDED, FAILED); upstream's backend says COMPLETE for the first.
    """
    state = SKIPPED if node is None else SUCCEEDED if node.well else node.state
    status: dict[str, Any] = {
        "state": state,
        "pipelineJobResourceName": names.pipeline_job_resource_name,
        "pipelineTaskName": name,
    }
    if node is None:
        return status
    return status | {"error": {"code": _FAILURE_CODE, "message": node.error}} if node.error else status


def _item_input(task: TaskSpec) -> str | None:
    iterator = task.parameter_iterator or task.artifact_iterator
    return iterator.item_input if iterator else None


def _parameter(name: str, source: ParameterInput, parent: Node, names: Names) -> Any:
    value: Any = UNSET
    siblings = parent.scope.children if parent.scope else {}
    if source.runtime_value is not None:
        value = source.runtime_value.constant
    elif source.component_input_parameter is not None:
        value = parent.inputs.parameters.get(source.component_input_parameter, UNSET)
    elif source.task_output_parameter is not None:
        producer = siblings.get(source.task_output_parameter.producer_task)
        if producer and producer.well:
            value = producer.outputs.parameters.get(source.task_output_parameter.output_parameter_key, UNSET)
    elif source.task_final_status is not None:
        name = source.task_final_status.producer_task
        value = final_status(name, siblings.get(name), names)
    if source.parameter_expression_selector and value is not UNSET:
        try:
            return select(source.parameter_expression_selector, value)
        except ExpressionError as error:
            raise InputProblem(f'input parameter "{name}": {error}') from error
    return value


def _artifacts(source: ArtifactInput, parent: Node) -> tuple[Artifact, ...] | None:
    if source.component_input_artifact is not None:
        return parent.inputs.artifacts.get(source.component_input_artifact)
    siblings = parent.scope.children if parent.scope else {}
    if source.task_output_artifact is None:
        return None
    producer = siblings.get(source.task_output_artifact.producer_task)
    if producer is None or not producer.well:
        return None
    return producer.outputs.artifacts.get(source.task_output_artifact.output_artifact_key)


def _completed(
    component: ComponentSpec,
    parameters: dict[str, Any],
    artifacts: Mapping[str, tuple[Artifact, ...]],
    item: str | None = None,
    task: TaskSpec | None = None,
) -> Values:
    """Defaults filled in where a DAG needs them (a container's own defaults apply in its code); absences checked."""
    for name, declared in component.input_definitions.parameters.items():
        if name in parameters or name == item:
            continue
        if declared.default_value is not UNSET:
            if component.dag is not None:
                parameters[name] = plain(declared.default_value)
        elif not declared.is_optional and declared.parameter_type is not ParameterType.TASK_CONFIG:
            raise InputProblem(_absent(name, task))
    for name, artifact in component.input_definitions.artifacts.items():
        if name not in artifacts and name != item and not artifact.is_optional:
            raise InputProblem(_absent(name, task))
    return Values(parameters, artifacts)


def _absent(name: str, task: TaskSpec | None) -> str:
    if task is None:
        return f'parameter "{name}" is not optional, yet has neither default value nor user provided value'
    source, artifact = task.inputs.parameters.get(name), task.inputs.artifacts.get(name)
    if source and source.task_output_parameter:
        producer, key = source.task_output_parameter.producer_task, source.task_output_parameter.output_parameter_key
        return f'input "{name}" has no value: task "{producer}" gave no output "{key}"'
    if artifact and artifact.task_output_artifact:
        producer, key = artifact.task_output_artifact.producer_task, artifact.task_output_artifact.output_artifact_key
        return f'input "{name}" has no value: task "{producer}" gave no output "{key}"'
    return f'input "{name}" is not optional, yet has no value'
