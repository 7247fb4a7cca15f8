"""A flaw of the compiler mended: items of an inner loop that leak into the inputs of the loops around it.

An f-string that names the items of two nested loops makes the outer loop ask for the inner one's item, which exists
only further inside. Such an input is dropped; the inner loop gives its item by itself.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ketch.pipelines.ir.spec import ComponentSpec, InputDefinitions, PipelineSpec, TaskSpec

_ITEM: Final = re.compile(r"(pipelinechannel--)?loop-item-param-\d+(-subvar-.*)?$|.*-loop-item(-subvar-.*)?$")


def without_leaks(spec: PipelineSpec) -> PipelineSpec:
    """``spec`` without inputs that nothing can give; itself when there is none."""
    components = {"": spec.root, **spec.components}
    found = {name: list(_leaks(each)) for name, each in components.items()}
    if not any(found.values()):
        return spec
    wanted = {(task.component_ref.name, key) for leaks in found.values() for _, task, keys in leaks for key in keys}
    mended = {name: _mended(name, each, found[name], wanted) for name, each in components.items()}
    return msgspec.structs.replace(spec, root=mended.pop(""), components=mended)


_Leak = tuple[str, TaskSpec, frozenset[str]]


def _leaks(component: ComponentSpec) -> Iterator[_Leak]:
    """Tasks and those of their inputs that ask for an item which is not there."""
    for name, task in component.dag.tasks.items() if component.dag else ():
        keys = frozenset(
            key
            for key, source in task.inputs.parameters.items()
            if (asked := source.component_input_parameter) is not None
            and asked not in component.input_definitions.parameters
            and _ITEM.match(asked)
        )
        if keys:
            yield name, task, keys


def _mended(name: str, component: ComponentSpec, leaks: list[_Leak], wanted: set[tuple[str, str]]) -> ComponentSpec:
    definitions = component.input_definitions
    optional = {
        key: msgspec.structs.replace(each, is_optional=True) if (name, key) in wanted else each
        for key, each in definitions.parameters.items()
    }
    definitions = InputDefinitions(parameters=optional, artifacts=definitions.artifacts)
    if component.dag is None or not leaks:
        return msgspec.structs.replace(component, input_definitions=definitions)
    tasks: Mapping[str, TaskSpec] = {
        **component.dag.tasks,
        **{each: _without(task, keys) for each, task, keys in leaks},
    }
    dag = msgspec.structs.replace(component.dag, tasks=tasks)
    return msgspec.structs.replace(component, input_definitions=definitions, dag=dag)


def _without(task: TaskSpec, keys: frozenset[str]) -> TaskSpec:
    parameters = {key: source for key, source in task.inputs.parameters.items() if key not in keys}
    return msgspec.structs.replace(task, inputs=msgspec.structs.replace(task.inputs, parameters=parameters))
