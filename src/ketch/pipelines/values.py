"""Parameter values and artifacts: what flows between tasks, and the rules for its types.

A number is JSON's: an integral double is written as an integer everywhere, because the SDK's executor checks Python
types and a specification's Struct only knows doubles. Texts follow KFP's launcher.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from ketch.pipelines.ir.spec import ParameterType

_EXACT = 2**53  # beyond it a double no longer tells integers apart

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")
"""What Python writes for numbers that JSON does not have; they come as texts."""

_NAMES: Final[Mapping[type, str]] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "list",
    dict: "struct",
    type(None): "null",
}


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact as tasks see it. ``type`` is its schema title; ``id`` its identity in the lineage."""

    id: str
    name: str
    type: str
    uri: str
    metadata: Mapping[str, Any] = {}


class Values(msgspec.Struct, frozen=True):
    """Inputs or outputs of a task: parameters and lists of artifacts by key. An absent key has no value."""

    parameters: Mapping[str, Any] = {}
    artifacts: Mapping[str, tuple[Artifact, ...]] = {}


NOTHING: Final = Values()


class ValueProblem(ValueError):
    """A value does not fit its declaration."""


def kind_name(value: Any) -> str:
    """What kind of JSON value this is, in protobuf's words."""
    return _NAMES[type(value)]


def plain(value: Any) -> Any:
    """``value`` with integral doubles as integers, at every depth."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("list[Any]", value)]
    return value


def to_json(value: Any) -> str:
    """JSON text as the launcher writes it: no spaces, nothing escaped that need not be."""
    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def to_text(value: Any) -> str:
    """The text that stands for a value in a command line: strings raw, everything else JSON; null is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


def convert(value: Any, kind: ParameterType, name: str) -> Any:
    """``value`` as an input parameter of type ``kind``. A STRING takes anything. Raises ValueProblem."""
    value = plain(value)
    if kind is ParameterType.STRING:
        return to_text(value)
    if not _fits(value, kind):
        raise ValueProblem(f'input parameter "{name}" type mismatch: expect {kind.value}, got {kind_name(value)}')
    return value


def _fits(value: Any, kind: ParameterType) -> bool:
    if kind in (ParameterType.NUMBER_INTEGER, ParameterType.NUMBER_DOUBLE):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is ParameterType.BOOLEAN:
        return isinstance(value, bool)
    if kind is ParameterType.LIST:
        return isinstance(value, list)
    if kind is ParameterType.STRING:
        return isinstance(value, str)
    return isinstance(value, dict)


def parse_output(text: str, kind: ParameterType, name: str) -> Any:
    """What a step wrote into an output parameter's file. Raises ValueProblem."""
    try:
        return _parse(text, kind)
    except (ValueError, RecursionError) as error:
        shown = text if len(text) <= 100 else f"{text[:100]}..."
        raise ValueProblem(f'output parameter "{name}" should be {kind.value}, but the step wrote {shown!r}') from error


def _parse(text: str, kind: ParameterType) -> Any:
    if kind is ParameterType.STRING:
        return text
    word = text.strip()
    if kind is ParameterType.NUMBER_INTEGER:
        return int(word)
    if kind is ParameterType.NUMBER_DOUBLE:
        number = float(word)
        if not math.isfinite(number):
            raise ValueError(word)
        return plain(number)
    if kind is ParameterType.BOOLEAN:
        if word not in _TRUE | _FALSE:
            raise ValueError(word)
        return word in _TRUE
    value = plain(json.loads(word, parse_constant=str))
    if not _fits(value, kind):
        raise ValueError(word)
    return value


def check_output(value: Any, kind: ParameterType, name: str) -> Any:
    """A value from an executor's output document, held against its declaration. Raises ValueProblem."""
    value = plain(value)
    if not _fits(value, kind):
        gave = f"{value}, which JSON has no number for" if value in _NO_NUMBERS else kind_name(value)
        raise ValueProblem(f'output parameter "{name}" should be {kind.value}, but the step gave {gave}')
    return value
