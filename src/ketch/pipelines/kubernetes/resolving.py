"""The values of parameters that settings refer to, as they stand where the task does. Pure.

They are the same whenever one asks: what they come from has ended before the task could start.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from msgspec import UNSET

from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.ir.spec import ParameterInput
from ketch.pipelines.kubernetes.settings import NO_SETTINGS, PodSettings, settings_of
from ketch.pipelines.kubernetes.sources import ABSENT, SettingProblem, declared_input
from ketch.pipelines.kubernetes.spec import KubernetesSpec
from ketch.pipelines.placeholders import Names, PlaceholderError, Scope, expand, expand_text
from ketch.pipelines.values import Values, plain


def task_settings(spec: KubernetesSpec, node: Node, names: Names) -> PodSettings:
    """What ``spec`` asks for the step of ``node``. Raises SettingProblem."""
    config = spec.deployment_spec.executors.get(node.component.executor_label)
    if config is None:
        return NO_SETTINGS
    texts = partial(expand_text, scope=Scope(names=names, parameters=node.inputs.parameters))
    try:
        return settings_of(config, partial(_value, node, names), texts)
    except PlaceholderError as error:
        raise SettingProblem(str(error)) from error


def _value(node: Node, names: Names, what: str, source: ParameterInput) -> Any:
    dag, inputs = _around(node)
    if source.runtime_value is not None:
        constant = source.runtime_value.constant
        return (
            ABSENT if constant is UNSET else plain(expand(constant, Scope(names=names, parameters=inputs.parameters)))
        )
    if source.component_input_parameter is not None:
        return plain(_input(what, source.component_input_parameter, dag, inputs))
    producer = source.task_output_parameter
    sibling = dag.scope.children.get(producer.producer_task) if producer and dag.scope else None
    if producer is None or sibling is None or producer.output_parameter_key not in sibling.outputs.parameters:
        missing = (
            f'task "{producer.producer_task}" gave no output "{producer.output_parameter_key}"' if producer else ""
        )
        raise SettingProblem(f"{what}: has no value: {missing}")
    return plain(sibling.outputs.parameters[producer.output_parameter_key])


def _around(node: Node) -> tuple[Node, Values]:
    """The DAG that the task stands in, and the inputs that can be seen there."""
    dag = node.parent
    if dag is None:
        return node, node.inputs
    if node.iteration is None:
        return dag, dag.inputs
    inside, item = dag.parent or dag, node.inputs
    return inside, Values({**inside.inputs.parameters, **item.parameters}, item.artifacts)


def _input(what: str, name: str, dag: Node, inputs: Values) -> Any:
    declared = {*dag.component.input_definitions.parameters, *inputs.parameters}
    found = declared_input(name, declared)
    if found is None:
        raise SettingProblem(f'{what}: there is no input parameter "{name}" around the task')
    value = inputs.parameters.get(found[0], ABSENT)
    for key in found[1]:
        if not isinstance(value, Mapping) or key not in value:
            raise SettingProblem(f'{what}: the item has no "{key}"')
        value = cast("Mapping[str, Any]", value)[key]
    return value
