"""``-p key=value`` as a run's parameters, typed by what the pipeline declares. Pure."""

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final


class ParameterProblem(ValueError):
    """What was typed is no value for the pipeline; the message names the parameter and says what it takes."""


KINDS: Final[Mapping[str, str]] = {
    "STRING": "text",
    "NUMBER_INTEGER": "an integer",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a list as JSON, like [1, 2]",
    "STRUCT": 'an object as JSON, like {"a": 1}',
}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NULL = "null"


def parameters_of(given: Sequence[str], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The values that ``given`` texts mean to the pipeline ``spec``. Raises ParameterProblem."""
    texts: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ParameterProblem(f"-p takes key=value, not {text!r}")
        if name in texts:
            raise ParameterProblem(f"parameter {name} is given twice")
        texts[name] = value
    declared = declared_parameters(spec)
    if unknown := [name for name in texts if name not in declared]:
        raise ParameterProblem(_unknown(unknown[0], declared))
    if missing := [name for name, about in declared.items() if name not in texts and not _optional(about)]:
        names = "; ".join(f"-p {name}={_placeholder(declared[name])}" for name in missing)
        raise ParameterProblem(f"the pipeline needs more: {names}")
    return {name: _value(name, text, declared[name]) for name, text in texts.items()}


def declared_parameters(spec: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What the pipeline's root declares, by name."""
    document = spec.get("pipeline_spec", spec)
    try:
        declared: Mapping[str, Mapping[str, Any]] = document["root"]["inputDefinitions"]["parameters"]
    except (KeyError, TypeError):
        return {}  # the API says what is wrong with such a specification
    return declared


def _optional(about: Mapping[str, Any]) -> bool:
    return bool(about.get("isOptional")) or "defaultValue" in about


def _placeholder(about: Mapping[str, Any]) -> str:
    return f"({KINDS.get(about.get('parameterType', ''), 'a value')})"


def _unknown(name: str, declared: Mapping[str, Mapping[str, Any]]) -> str:
    close = difflib.get_close_matches(name, declared, n=1)
    hint = f": did you mean {close[0]!r}?" if close else ""
    if not declared:
        return f"the pipeline takes no parameters, and so no {name!r}"
    return f"the pipeline has no parameter {name!r}{hint}{_list(declared)}"


def _list(declared: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        f"\n  {name}: {KINDS.get(about.get('parameterType', ''), 'a value')}"
        + (f" (default {_default(about)})" if "defaultValue" in about else "")
        for name, about in declared.items()
    ]
    return "".join(["\nit takes", *lines])


def _default(about: Mapping[str, Any]) -> str:
    value = about["defaultValue"]
    if isinstance(value, float) and value.is_integer() and about.get("parameterType") == "NUMBER_INTEGER":
        value = int(value)  # specifications have no integers
    return json.dumps(value)


def _value(name: str, text: str, about: Mapping[str, Any]) -> Any:
    kind = about.get("parameterType", "")
    if kind == "STRING":
        return text
    if text == _NULL and about.get("isOptional"):
        return None
    try:
        return _READERS.get(kind, _anything)(text)
    except ValueError:
        raise ParameterProblem(f"parameter {name} takes {KINDS.get(kind, 'a value')}, not {text!r}") from None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


def _number(text: str) -> float | int:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)  # JSON has no name for these
    return int(text) if text.strip().lstrip("+-").isdecimal() else number


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def _structure(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(text)  # noqa: TRY004  # the text is wrong, not the program
        return value

    return read


def _anything(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "NUMBER_INTEGER": _integer,
    "NUMBER_DOUBLE": _number,
    "BOOLEAN": _boolean,
    "LIST": _structure(list),
    "STRUCT": _structure(dict),
}
