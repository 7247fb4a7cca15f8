"""Lists, sets and optional values."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from ketch.local.apiserver.cel.errors import EvaluationError
from ketch.local.apiserver.cel.functions.overloads import Overload, element, first, function, member
from ketch.local.apiserver.cel.types import NONE, Optional, Type, joined, optional_of
from ketch.local.apiserver.cel.values import contains, equal


def _less(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        raise EvaluationError("no such overload")
    try:
        return bool(left < right)
    except TypeError:
        raise EvaluationError("no such overload") from None


def _is_sorted(items: Sequence[Any]) -> bool:
    return not any(_less(items[index + 1], items[index]) for index in range(len(items) - 1))


def _sum(items: Sequence[Any]) -> Any:
    try:
        return reduce(lambda total, item: total + item, items[1:], items[0]) if items else 0
    except TypeError:
        raise EvaluationError("no such overload") from None


def _extreme(name: str, *, least: bool) -> Any:
    def choose(items: Sequence[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        return reduce(lambda best, item: item if _less(item, best) == least and not equal(item, best) else best, items)

    return choose


def _index(items: Sequence[Any], value: Any) -> int:
    return next((index for index, item in enumerate(items) if equal(item, value)), -1)


def _last_index(items: Sequence[Any], value: Any) -> int:
    return next((index for index in reversed(range(len(items))) if equal(items[index], value)), -1)


def _subset(items: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(contains(item, items) for item in others)


def _value(optional: Optional) -> Any:
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _value_or(optional: Optional, other: Any) -> Any:
    return optional.value if optional.present else other


def _either(optional: Optional, other: Optional) -> Optional:
    return optional if optional.present else other


def _non_zero(value: Any) -> Optional:
    return Optional(present=True, value=value) if value else NONE


def _wrapped(given: Sequence[Type]) -> Type:
    return optional_of(given[0])


def _or_value(given: Sequence[Type]) -> Type:
    return joined(element(given), given[1])


OVERLOADS: Sequence[Overload] = (
    member("isSorted", "list -> bool", _is_sorted),
    member("sum", "list ->", _sum, element),
    member("min", "list ->", _extreme("min", least=True), element),
    member("max", "list ->", _extreme("max", least=False), element),
    member("indexOf", "list, dyn -> int", _index),
    member("lastIndexOf", "list, dyn -> int", _last_index),
    function("sets.contains", "list, list -> bool", _subset),
    function("sets.equivalent", "list, list -> bool", lambda one, other: _subset(one, other) and _subset(other, one)),
    function("sets.intersects", "list, list -> bool", lambda one, other: any(contains(item, other) for item in one)),
    function("optional.of", "dyn ->", lambda value: Optional(present=True, value=value), _wrapped),
    function("optional.ofNonZeroValue", "dyn ->", _non_zero, _wrapped),
    function("optional.none", "-> optional", lambda: NONE),
    member("hasValue", "optional -> bool", lambda optional: optional.present),
    member("value", "optional ->", _value, element),
    member("orValue", "optional, dyn ->", _value_or, _or_value),
    member("or", "optional, optional ->", _either, first),
)  # fmt: skip
