"""Marshalling as grpc-gateway does it: messages from and to JSON.

In: snake_case or camelCase names, unknown fields refused, enums by name or number, int64 by text or number, null means
absent. Out: snake_case names, zero values omitted, enums by name, int64 as text; times in whole seconds as upstream has
them, except those of tasks, which may be over in less.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from ketch.kube.codec import format_time, parse_time
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.records.states import format_instant
from ketch.pipelines.structs import plain

M = TypeVar("M", bound="Message")
Reader = Callable[[Any, str], Any]

UNSET_TIME = "1970-01-01T00:00:00Z"
_BOOLEANS: Final[Mapping[str, bool]] = {"": False, "0": False, "false": False, "1": True, "true": True}
_NUMBER_LENGTH: Final = 10  # digits of an enum's number
_INT64 = re.compile(r"-?\d{1,19}")


class Message(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A protobuf message; attributes carry the proto's names. Every field has its zero value as default.

    Lists are given as tuples: an empty one is the default, and left out.
    """


@dataclass(frozen=True)
class Enum:
    """Marks a text field that carries an enum's names; ``names`` by number, 0 is the unset value."""

    names: Mapping[int, str]


class Int64:
    """Marks a text field that carries a 64-bit integer."""


class Time:
    """Marks a text field that carries a moment."""


def timestamp(moment: datetime | None) -> str:
    """A moment in its wire form; the unset one is 1970, as upstream's clients expect."""
    return UNSET_TIME if moment is None else format_time(moment.replace(microsecond=0))


def instant(moment: datetime | None) -> str:
    """A moment to the millisecond; empty when unset."""
    return "" if moment is None else format_instant(moment)


def decode(kind: type[M], body: Any, where: str = "") -> M:
    """``body`` (decoded JSON) as a message. Raises InvalidInput, naming the field."""
    if not isinstance(body, Mapping):
        raise InvalidInput(f"{where or kind.__name__}: expected an object")
    readers = _readers(kind)
    values: dict[str, Any] = {}
    for name, raw in cast("Mapping[str, Any]", body).items():
        place = f"{where}.{name}" if where else name
        found = readers.get(name)
        if found is None:
            raise InvalidInput(f'unknown field "{place}" in {kind.__name__}')
        attribute, read = found
        if raw is not None:
            if attribute in values:
                raise InvalidInput(f'field "{place}" is given twice')
            values[attribute] = read(raw, place)
    return kind(**values)


def query_value(parameters: Mapping[str, str], name: str, annotation: Any) -> Any:
    """A query parameter as a field of that annotation; its zero value when it is not given. Raises InvalidInput."""
    text = parameters.get(name, "")
    kind = annotation
    if get_origin(annotation) is Annotated:
        kind, mark = get_args(annotation)
        if isinstance(mark, Enum) and text.isdecimal():
            return _reader(annotation)(int(text[:_NUMBER_LENGTH]), name)
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise InvalidInput(f'"{name}": {text!r} is neither true nor false')
        return _BOOLEANS[text.lower()]
    return _reader(annotation)(text, name) if text else kind()


def integer_value(parameters: Mapping[str, str], name: str, allowed: range) -> int | None:
    """A query parameter as an integer; None when it is not given. Raises InvalidInput."""
    text = parameters.get(name, "")
    if not text:
        return None
    if not _INT64.fullmatch(text) or int(text) not in allowed:
        raise InvalidInput(f'"{name}": expected an integer from {allowed.start} to {allowed.stop - 1}, not {text!r}')
    return int(text)


def encode(message: Message) -> bytes:
    """A message as JSON."""
    return msgspec.json.encode(message)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


@cache  # one table per message type, made on first use
def _readers(kind: type[Message]) -> Mapping[str, tuple[str, Reader]]:
    hints = get_type_hints(kind, include_extras=True)
    table: dict[str, tuple[str, Reader]] = {}
    for field in msgspec.structs.fields(kind):
        entry = (field.name, _reader(hints[field.name]))
        table[field.encode_name] = table[_camel(field.name)] = entry
    return table


def _reader(annotation: Any) -> Reader:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _marked(arguments[1])
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, Mapping):
            return _map_reader(_reader(arguments[1]))
        if issubclass(origin, Sequence):
            return _list_reader(_reader(arguments[0]))
    if arguments:  # an optional value
        return _reader(next(argument for argument in arguments if argument is not NoneType))
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return lambda raw, where: decode(annotation, raw, where)
    return {str: _text, bool: _bool, int: _int, float: _float, Any: _any}[annotation]


def _marked(mark: Any) -> Reader:
    if isinstance(mark, Enum):
        return _enum_reader(mark.names)
    return _int64 if mark is Int64 else _time


def _map_reader(read: Reader) -> Reader:
    def read_map(raw: Any, where: str) -> Any:
        if not isinstance(raw, Mapping):
            raise InvalidInput(f'field "{where}": expected an object')
        entries = cast("Mapping[str, Any]", raw)
        return {key: read(value, f"{where}.{key}") for key, value in entries.items()}

    return read_map


def _list_reader(read: Reader) -> Reader:
    def read_list(raw: Any, where: str) -> Any:
        if not isinstance(raw, list):
            raise InvalidInput(f'field "{where}": expected a list')
        return [read(value, f"{where}[{index}]") for index, value in enumerate(cast("list[Any]", raw))]

    return read_list


def _enum_reader(names: Mapping[int, str]) -> Reader:
    numbers = {name: number for number, name in names.items()}

    def read_enum(raw: Any, where: str) -> str:
        name = names.get(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
        if not isinstance(name, str) or name not in numbers:
            raise InvalidInput(f'field "{where}": {raw!r} is none of {", ".join(numbers)}')
        return name if numbers[name] else ""

    return read_enum


def _text(raw: Any, where: str) -> str:
    if not isinstance(raw, str):
        raise InvalidInput(f'field "{where}": expected a text')
    if "\0" in raw:  # no database keeps it
        raise InvalidInput(f'field "{where}": holds a NUL character')
    return raw


def _bool(raw: Any, where: str) -> bool:
    if not isinstance(raw, bool):
        raise InvalidInput(f'field "{where}": expected true or false')
    return raw


def _int(raw: Any, where: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not -(2**31) <= raw < 2**31:
        raise InvalidInput(f'field "{where}": expected a 32-bit integer')
    return raw


def _float(raw: Any, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidInput(f'field "{where}": expected a number')
    return float(raw)


def _int64(raw: Any, where: str) -> str:
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    if not isinstance(text, str) or not _INT64.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise InvalidInput(f'field "{where}": expected a 64-bit integer')
    return "" if int(text) == 0 else text


def _time(raw: Any, where: str) -> str:
    try:
        moment = parse_time(raw)
        offset = moment.utcoffset()
    except (ValueError, TypeError, AttributeError):
        offset = None
    if offset is None:
        raise InvalidInput(f'field "{where}": expected a time such as 2026-01-31T12:00:00Z')
    return raw


def _any(raw: Any, where: str) -> Any:  # noqa: ARG001  # a reader's signature
    return plain(raw)
