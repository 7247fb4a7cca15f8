"""A run's parameters held against what its pipeline declares, before the run exists."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.ir.spec import InputDefinitions, InputParameter, ParameterType

_WORDS: Mapping[type, str] = {
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def check_parameters(given: Mapping[str, Any], inputs: InputDefinitions) -> None:
    """Raises InvalidInput when a run with these parameters could not start, naming what is wrong."""
    if surplus := sorted(given.keys() - inputs.parameters.keys()):
        raise InvalidInput(f"parameter(s) provided are not required by pipeline: {', '.join(surplus)}")
    for name, declared in inputs.parameters.items():
        if name in given:
            _check_value(name, given[name], declared)
        elif not declared.is_optional and declared.default_value is UNSET:
            raise InvalidInput(
                f"parameter {name} is not optional, yet has neither default value nor user provided value"
            )
    for name, artifact in inputs.artifacts.items():
        if not artifact.is_optional:
            raise InvalidInput(f"the pipeline takes the artifact {name} as input, which a run cannot be given")


def _check_value(name: str, value: Any, declared: InputParameter) -> None:
    if value is None and declared.is_optional:
        return
    if not _fits(value, declared.parameter_type):
        expected = declared.parameter_type.value
        raise InvalidInput(f"parameter {name} should be of type {expected}, but the value is {_WORDS[type(value)]}")
    if declared.literals and value not in declared.literals:
        allowed = ", ".join(repr(literal) for literal in declared.literals)
        raise InvalidInput(f"parameter {name} is {value!r}, but must be one of {allowed}")


def _fits(value: Any, kind: ParameterType) -> bool:
    match kind:
        case ParameterType.STRING:
            return isinstance(value, str)
        case ParameterType.BOOLEAN:
            return isinstance(value, bool)
        case ParameterType.NUMBER_INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case ParameterType.NUMBER_DOUBLE:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ParameterType.LIST:
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)
