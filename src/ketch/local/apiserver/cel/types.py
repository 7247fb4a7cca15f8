"""Types of expressions, and values that JSON does not have.

A value is what JSON has it as; an unsigned number is a ``UInt``, times are ``datetime`` and ``timedelta``, and what the
libraries add are classes of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast


class UInt(int):
    """An unsigned number."""


class SetList(list[Any]):
    """A list that is a set: order does not count."""

    cel_name = "list"

    def same(self, other: Sequence[Any], equal: Callable[[Any, Any], bool]) -> bool:
        """Whether both hold the same elements."""
        return len(self) == len(other) and all(any(equal(item, each) for each in other) for item in self)

    def merged(self, other: Sequence[Any]) -> "SetList":
        """Both, each element once."""
        return SetList([*self, *(item for item in other if item not in self)])


class KeyedList(list[Any]):
    """A list whose elements are told apart by keys: order does not count."""

    cel_name = "list"

    def __init__(self, items: Sequence[Any], keys: Sequence[str]) -> None:
        super().__init__(items)
        self.keys = keys

    def key(self, item: Any) -> tuple[str, ...]:
        """What tells an element apart."""
        return tuple(repr(item.get(key)) for key in self.keys) if isinstance(item, dict) else (repr(item),)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    def same(self, other: Sequence[Any], equal: Callable[[Any, Any], bool]) -> bool:
        """Whether both hold equal elements under the same keys."""
        those = {self.key(item): item for item in other}
        return len(self) == len(other) and all(
            (key := self.key(item)) in those and equal(item, those[key]) for item in self
        )

    def merged(self, other: Sequence[Any]) -> "KeyedList":
        """The elements of both; of the same key the other's, at this one's place."""
        those = {self.key(item): item for item in other}
        mine = {self.key(item) for item in self}
        kept = [those.get(self.key(item), item) for item in self]
        return KeyedList([*kept, *(item for key, item in those.items() if key not in mine)], self.keys)


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be absent."""

    present: bool
    value: Any = None


NONE = Optional(present=False)


@dataclass(frozen=True)
class Type:
    """A type. ``parameters`` are element types; ``field`` finds the type of an object's field, None for no such field.

    ``label`` is how messages name an object's type.
    """

    name: str
    parameters: "tuple[Type, ...]" = ()
    field: "Callable[[str], Type | None] | None" = None

    def __str__(self) -> str:
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(map(str, self.parameters))})"


DYN = Type("dyn")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
NULL = Type("null_type")
DURATION = Type("google.protobuf.Duration")
TIMESTAMP = Type("google.protobuf.Timestamp")
TYPE = Type("type")


def list_of(element: Type) -> Type:
    """A list."""
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    """A map."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """A value that may be absent."""
    return Type("optional_type", (value,))


def object_of(name: str, field: Callable[[str], Type | None]) -> Type:
    """An object whose fields ``field`` knows."""
    return Type(name, (), field)


def may_be(given: Type, wanted: Type) -> bool:
    """Whether a value of type ``given`` can be one of ``wanted``; only known when it runs, where either is dynamic."""
    if DYN in (given, wanted):
        return True
    if given.field is not None and wanted.name == "map":
        return False
    if given.name == "null_type" or wanted.name == "null_type":
        return given.name == wanted.name or (given if wanted.name == "null_type" else wanted).name not in _PLAIN
    if given.name != wanted.name:
        return False
    return all(may_be(*pair) for pair in zip(given.parameters, wanted.parameters, strict=False))


_PLAIN = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map"})


def joined(left: Type, right: Type) -> Type:
    """The type of a value that is of either."""
    if left == right:
        return left
    if left.name == right.name and len(left.parameters) == len(right.parameters) and left.parameters:
        parameters = tuple(joined(*pair) for pair in zip(left.parameters, right.parameters, strict=True))
        return Type(left.name, parameters)
    return DYN


_TYPE_NAMES: Mapping[type, str] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    dict: "map",
    list: "list",
    tuple: "list",
    type(None): "null_type",
    timedelta: DURATION.name,
    datetime: TIMESTAMP.name,
    Optional: "optional_type",
    Type: "type",
}


def type_name(value: Any) -> str:
    """The name of a value's type."""
    kind = cast("type[Any]", type(value))
    found = _TYPE_NAMES.get(kind)
    return str(getattr(kind, "cel_name", kind.__name__)) if found is None else found
