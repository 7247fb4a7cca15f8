"""Conditions and selectors of tasks: what their expressions may refer to, and what they must come to.

A condition is told of ``inputs.parameter_values`` and ``inputs.artifacts``; a selector, mostly
``parseJson(string_value)["key"]``, of the one value that it selects from.
"""

import json
from collections.abc import Mapping
from typing import Any

from ketch.pipelines.ir.cel import Evaluator, ExpressionError, Inputs, parse

__all__ = ["ExpressionError", "evaluate", "parse_condition", "parse_selector", "select"]

_NONE: Mapping[str, Any] = {}


def parse_condition(text: str) -> Evaluator:
    """A condition, read. Raises ExpressionError."""
    return parse(text)


def parse_selector(text: str) -> Evaluator:
    """A selector, read. Raises ExpressionError."""
    try:
        return parse(text)
    except ExpressionError as error:
        raise ExpressionError(f'selector {text!r} is not of the form parseJson(string_value)["key"]') from error


def evaluate(condition: str, parameters: Mapping[str, Any], artifacts: Mapping[str, Any] = _NONE) -> bool:
    """Whether ``condition`` holds. Raises ExpressionError, also when an input it names is absent.

    ``artifacts`` are as the executor's input has them: ``{name: {"artifacts": [{"uri": ..., "metadata": {...}}]}}``.
    """
    inputs = {
        "parameter_values": Inputs("parameter", parameters),
        "artifacts": Inputs("artifact", artifacts),
    }
    value = _value(parse_condition(condition), {"inputs": inputs})
    if not isinstance(value, bool):
        raise ExpressionError(f"condition {condition!r} is {value!r}, neither true nor false")
    return value


def select(selector: str, value: Any) -> Any:
    """The part of ``value`` (or of the JSON text it is) that ``selector`` names. Raises ExpressionError."""
    given: dict[str, Any] = {"string_value": value if isinstance(value, str) else json.dumps(value)}
    match value:
        case bool():
            given["bool_value"] = value
        case int() | float():
            given["number_value"] = value
        case list():
            given["list_value"] = value
        case dict():
            given["struct_value"] = value
        case _:
            pass
    try:
        return _value(parse_selector(selector), given)
    except ExpressionError as error:
        raise ExpressionError(f"{selector}: {error}") from error


def _value(expression: Evaluator, given: Mapping[str, Any]) -> Any:
    try:
        return expression(given)
    except RecursionError as error:
        raise ExpressionError("the expression is nested too deeply") from error
