"""How a function is declared: once, for the check before and the choice while it runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ketch.local.apiserver.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Type,
    list_of,
    may_be,
    optional_of,
    type_name,
)

Result = Type | Callable[[Sequence[Type]], Type]
Implementation = (
    Callable[[], Any]
    | Callable[[Any], Any]
    | Callable[[Any, Any], Any]
    | Callable[[Any, Any, Any], Any]
    | Callable[[Any, Any, Any, Any], Any]
)

NAMED = {
    "dyn": DYN,
    "bool": BOOL,
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "string": STRING,
    "bytes": BYTES,
    "null": NULL,
    "duration": DURATION,
    "timestamp": TIMESTAMP,
    "type": TYPE,
    "list": list_of(DYN),
    "map": Type("map", (DYN, DYN)),
    "optional": optional_of(DYN),
    "strings": list_of(STRING),
}
"""How signatures spell types; others are the libraries' own."""


@dataclass(frozen=True, slots=True)
class Overload:
    """One way to call a function; of a member function the first parameter is what it is called on."""

    name: str
    member: bool
    parameters: tuple[Type, ...]
    result: Result
    run: Callable[..., Any]

    def fits(self, given: Sequence[Type]) -> bool:
        """Whether arguments of these types may be given."""
        return len(given) == len(self.parameters) and all(map(may_be, given, self.parameters))

    def takes(self, values: Sequence[Any]) -> bool:
        """Whether these very values may be given."""
        return all(
            wanted.name in ("dyn", type_name(value)) for wanted, value in zip(self.parameters, values, strict=True)
        )

    def result_of(self, given: Sequence[Type]) -> Type:
        """The type of the outcome."""
        return self.result if isinstance(self.result, Type) else self.result(given)


def named(text: str) -> Type:
    """A type by its name in a signature."""
    return NAMED.get(text) or Type(text)


def function(name: str, signature: str, run: Implementation, result: Result | None = None) -> Overload:
    """A global function; ``signature`` is like ``string, int -> bool``."""
    return _overload(name, signature, run, result, member=False)


def member(name: str, signature: str, run: Implementation, result: Result | None = None) -> Overload:
    """A member function; the first type of ``signature`` is what it is called on."""
    return _overload(name, signature, run, result, member=True)


def _overload(name: str, signature: str, run: Implementation, result: Result | None, *, member: bool) -> Overload:
    given, _, returned = signature.partition("->")
    parameters = tuple(named(text.strip()) for text in given.split(",") if text.strip())
    return Overload(name, member, parameters, result or named(returned.strip()), run)


def element(given: Sequence[Type]) -> Type:
    """The element type of the first argument."""
    return given[0].parameters[0] if given[0].parameters else DYN


def first(given: Sequence[Type]) -> Type:
    """The first argument's own type."""
    return given[0]
