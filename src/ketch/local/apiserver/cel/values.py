"""What holds for all values: equality, order, arithmetic with limits."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from ketch.local.apiserver.cel.errors import EvaluationError
from ketch.local.apiserver.cel.types import KeyedList, SetList, UInt, type_name

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
NUMBERS = (int, float)


def equal(left: Any, right: Any) -> bool:
    """Whether two values are the same; numbers by their value, whatever their type."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, NUMBERS) and isinstance(right, NUMBERS):
        return left == right
    if isinstance(left, list | tuple):
        if not isinstance(right, list | tuple):
            return False
        one, other = cast("list[Any]", left), cast("list[Any]", right)
        if isinstance(one, SetList | KeyedList):
            return one.same(other, equal)
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(left, Mapping):
        if not isinstance(right, Mapping):
            return False
        these, those = cast("Mapping[Any, Any]", left), cast("Mapping[Any, Any]", right)
        return len(these) == len(those) and all(key in those and equal(item, those[key]) for key, item in these.items())
    return type(left) is type(right) and bool(left == right)


def contains(value: Any, container: Any) -> bool:
    """``value in container``."""
    if isinstance(container, Mapping):
        try:
            return value in container
        except TypeError:
            return False
    return any(equal(value, item) for item in container)


def concatenated(left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
    """``left + right``; sets and keyed lists merge."""
    return left.merged(right) if isinstance(left, SetList | KeyedList) else [*left, *right]


def whole(value: int) -> int:
    """``value``, an int of 64 bits. Raises EvaluationError."""
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def unsigned(value: int) -> UInt:
    """``value`` as an unsigned number. Raises EvaluationError."""
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


def quotient(left: int, right: int) -> int:
    """Division towards zero."""
    if right == 0:
        raise EvaluationError("division by zero")
    result = abs(left) // abs(right)
    return result if (left < 0) == (right < 0) else -result


def remainder(left: int, right: int) -> int:
    """The rest of a division towards zero."""
    if right == 0:
        raise EvaluationError("modulus by zero")
    return left - right * quotient(left, right)


def ratio(left: float, right: float) -> float:
    """Division of floating point numbers, as IEEE 754 has it."""
    if right == 0:
        return float("nan") if left == 0 or left != left else float("inf") * (1 if left > 0 else -1)  # noqa: PLR0124
    return left / right


def moment(value: Any) -> datetime:
    """A time within the years that can be written. Raises EvaluationError."""
    try:
        return value()
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def at(container: Any, index: Any) -> Any:
    """``container[index]``. Raises EvaluationError."""
    if isinstance(container, Mapping):
        found = cast("Mapping[Any, Any]", container)
        try:
            return found[index]
        except (KeyError, TypeError):
            raise EvaluationError(f"no such key: {index}") from None
    if isinstance(container, list | tuple):
        items = cast("list[Any]", container)
        if isinstance(index, float) and index.is_integer():
            index = int(index)
        if isinstance(index, bool) or not isinstance(index, int):
            raise EvaluationError(f"unsupported index type '{type_name(index)}' in list")
        if not 0 <= index < len(items):
            raise EvaluationError(f"index out of bounds: {index}")
        return items[index]
    raise EvaluationError("no such overload")


def has(container: Any, key: Any) -> bool:
    """Whether ``container`` has a field, a key or an index."""
    if isinstance(container, Mapping):
        try:
            return key in container
        except TypeError:
            return False
    if isinstance(container, list | tuple):
        return isinstance(key, int) and 0 <= key < len(cast("list[Any]", container))
    raise EvaluationError(f"no such key: {key}")


def duration_text(value: timedelta) -> str:
    """A duration as JSON has it: seconds."""
    seconds = value.total_seconds()
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds:.9f}".rstrip("0") + "s"


def time_text(value: datetime) -> str:
    """A time as JSON has it: RFC 3339 in UTC."""
    text = value.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{value.microsecond:06d}".rstrip("0") + "Z" if value.microsecond else f"{text}Z"
