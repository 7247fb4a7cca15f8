"""Flaws of the compiler mended: values that it does not hand on into sub-DAGs.

A task within a loop or condition may use a parameter from outside for its resources, and the compiler forgets to pass
it through; an f-string that names the items of two nested loops makes the inner loop use the outer one's item without
getting it, and the outer loop ask for the inner one's. What a task may know from around it is handed on to it; an item
that exists only further inside is not asked for.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ketch.pipelines.ir.spec import (
    ComponentSpec,
    InputParameter,
    ParameterInput,
    PipelineSpec,
    TaskSpec,
)

_PREFIX: Final = "pipelinechannel--"
_ITEM: Final = re.compile(rf"({_PREFIX})?(loop-item-param-\d+|.+-loop-item)(-subvar-.*)?")
_ROOT: Final = ""


def without_leaks(spec: PipelineSpec) -> PipelineSpec:
    """``spec`` with every value where it is used; itself when nothing is to be mended."""
    components = {_ROOT: spec.root, **spec.components}
    leaks = [leak for name, component in components.items() for leak in _leaks(name, component)]
    if not leaks:
        return spec
    mending = _Mending(components)
    for leak in leaks:
        mending.mend(*leak)
    mended = mending.components()
    return msgspec.structs.replace(spec, root=mended.pop(_ROOT), components=mended)


def _leaks(name: str, component: ComponentSpec) -> Iterator[tuple[str, str, str, str]]:
    """Component, task, its input, and what it asks for although the component does not have it."""
    known = component.input_definitions.parameters
    for task_name, task in component.dag.tasks.items() if component.dag else ():
        for key, source in task.inputs.parameters.items():
            asked = source.component_input_parameter
            if asked is not None and asked not in known and (asked.startswith(_PREFIX) or _ITEM.fullmatch(asked)):
                yield name, task_name, key, asked


class _Mending:
    """Changes to inputs of components and tasks, collected and then made at once."""

    def __init__(self, components: Mapping[str, ComponentSpec]) -> None:
        self._components = components
        self._users: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name, component in components.items():
            for task_name, task in component.dag.tasks.items() if component.dag else ():
                self._users[task.component_ref.name].append((name, task_name))
        self._declared = {name: dict(each.input_definitions.parameters) for name, each in components.items()}
        self._sources: dict[tuple[str, str], dict[str, ParameterInput | None]] = defaultdict(dict)

    def mend(self, component: str, task: str, key: str, asked: str) -> None:
        """Hand the value on to ``component``, or let the task do without an item that is none of its business."""
        if self._hand_on(component, asked) is None and _ITEM.fullmatch(asked):
            self._sources[component, task][key] = None
            target = self._task(component, task).component_ref.name
            if key in self._declared[target]:
                self._declared[target][key] = msgspec.structs.replace(self._declared[target][key], is_optional=True)

    def components(self) -> dict[str, ComponentSpec]:
        """All components, mended."""
        return {name: self._mended(name, each) for name, each in self._components.items()}

    def _hand_on(self, component: str, asked: str) -> InputParameter | None:
        """The value's declaration, once ``component`` gets it from wherever it is used; None when it cannot."""
        declared = self._declared[component]
        if asked in declared:
            return declared[asked]
        users = self._users[component]
        found = [self._source(user, asked) for user, _ in users]
        given = [each for each in found if each is not None]
        if not given or len(given) < len(users):
            return None
        for user, (source, _) in zip(users, given, strict=True):
            self._sources[user][asked] = source
        declared[asked] = given[0][1]
        return declared[asked]

    def _source(self, component: str, asked: str) -> tuple[ParameterInput, InputParameter] | None:
        """Where the value comes from inside ``component``, and what it is."""
        bare = asked.removeprefix(_PREFIX)
        for name in (asked, bare):
            if name in self._declared[component]:
                return ParameterInput(component_input_parameter=name), self._declared[component][name]
        handed = self._hand_on(component, asked)
        return None if handed is None else (ParameterInput(component_input_parameter=asked), handed)

    def _task(self, component: str, task: str) -> TaskSpec:
        dag = self._components[component].dag
        assert dag is not None
        return dag.tasks[task]

    def _mended(self, name: str, component: ComponentSpec) -> ComponentSpec:
        definitions = msgspec.structs.replace(component.input_definitions, parameters=self._declared[name])
        component = msgspec.structs.replace(component, input_definitions=definitions)
        if component.dag is None:
            return component
        tasks = {
            each: _with(task, self._sources[name, each]) if (name, each) in self._sources else task
            for each, task in component.dag.tasks.items()
        }
        return msgspec.structs.replace(component, dag=msgspec.structs.replace(component.dag, tasks=tasks))


def _with(task: TaskSpec, sources: Mapping[str, ParameterInput | None]) -> TaskSpec:
    parameters = {key: source for key, source in {**task.inputs.parameters, **sources}.items() if source is not None}
    return msgspec.structs.replace(task, inputs=msgspec.structs.replace(task.inputs, parameters=parameters))
