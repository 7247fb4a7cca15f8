"""Operators and functions of the language itself."""

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ketch.kube.codec import parse_time
from ketch.local.apiserver.cel.errors import EvaluationError
from ketch.local.apiserver.cel.functions.overloads import Overload, function, member
from ketch.local.apiserver.cel.functions.patterns import matches
from ketch.local.apiserver.cel.types import DYN, Type, UInt, joined, type_name
from ketch.local.apiserver.cel.values import (
    INT_MAX,
    INT_MIN,
    concatenated,
    contains,
    duration_text,
    equal,
    moment,
    quotient,
    ratio,
    remainder,
    time_text,
    unsigned,
    whole,
)

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> timedelta:
    """A duration as Go writes it, such as ``1h30m``. Raises EvaluationError."""
    import re  # noqa: PLC0415  # with its one user

    if text in ("0", "+0", "-0"):
        return timedelta()
    whole_text = re.fullmatch(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+)", text)
    if whole_text is None:
        raise EvaluationError(f'time: invalid duration "{text}"')
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", whole_text[2])
    try:
        total = timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise EvaluationError(f'time: invalid duration "{text}"') from None
    return -total if whole_text[1] == "-" else total


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise EvaluationError(f"type conversion error from 'string' to 'google.protobuf.Timestamp': {text}") from None


def _to_int(value: Any) -> int:
    try:
        if isinstance(value, float) and not INT_MIN < value < INT_MAX:
            raise EvaluationError("integer overflow")
        return whole(int(value, 10) if isinstance(value, str) else int(value))
    except ValueError:
        raise EvaluationError(f"type conversion error from '{type_name(value)}' to 'int'") from None


def _to_uint(value: Any) -> UInt:
    try:
        return unsigned(int(value, 10) if isinstance(value, str) else int(value))
    except (ValueError, OverflowError):
        raise EvaluationError(f"type conversion error from '{type_name(value)}' to 'uint'") from None


def _to_double(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise EvaluationError("type conversion error from 'string' to 'double'") from None


def text_of(value: Any) -> str:
    """``string(value)``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, datetime):
        return time_text(value)
    return str(value)


def _to_bool(text: str) -> bool:
    if text in ("true", "True", "TRUE", "t", "1"):
        return True
    if text in ("false", "False", "FALSE", "f", "0"):
        return False
    raise EvaluationError("type conversion error from 'string' to 'bool'")


def _zoned(value: datetime, zone: str) -> datetime:
    sign, rest = (zone[:1], zone[1:]) if zone[:1] in "+-" else ("+", zone)
    hours, colon, minutes = rest.partition(":")
    if colon and hours.isdigit() and minutes.isdigit():
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return (value + (offset if sign == "+" else -offset)).replace(tzinfo=UTC)
    try:
        return value.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        raise EvaluationError(f"unknown time zone {zone}") from None


def _parts() -> Sequence[Overload]:
    of_time: Mapping[str, Callable[[datetime], int]] = {
        "getFullYear": lambda value: value.year,
        "getMonth": lambda value: value.month - 1,
        "getDate": lambda value: value.day,
        "getDayOfMonth": lambda value: value.day - 1,
        "getDayOfYear": lambda value: value.timetuple().tm_yday - 1,
        "getDayOfWeek": lambda value: value.isoweekday() % 7,
        "getHours": lambda value: value.hour,
        "getMinutes": lambda value: value.minute,
        "getSeconds": lambda value: value.second,
        "getMilliseconds": lambda value: value.microsecond // 1000,
    }
    of_duration: Mapping[str, Callable[[timedelta], int]] = {
        "getHours": lambda value: int(value.total_seconds() / 3600),
        "getMinutes": lambda value: int(value.total_seconds() / 60),
        "getSeconds": lambda value: int(value.total_seconds()),
        "getMilliseconds": lambda value: int(value.microseconds / 1000),
    }

    def in_zone(take: Callable[[datetime], int]) -> Callable[[datetime, str], int]:
        return lambda value, zone: take(_zoned(value, zone))

    return (
        *(member(name, "timestamp -> int", take) for name, take in of_time.items()),
        *(member(name, "timestamp, string -> int", in_zone(take)) for name, take in of_time.items()),
        *(member(name, "duration -> int", take) for name, take in of_duration.items()),
    )


def _orders() -> Sequence[Overload]:
    signs = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
    alike = ("bool", "string", "bytes", "timestamp", "duration")
    numbers = ("int", "uint", "double")
    pairs = [*((each, each) for each in alike), *((one, other) for one in numbers for other in numbers)]
    return [function(sign, f"{left}, {right} -> bool", run) for sign, run in signs.items() for left, right in pairs]


def _concatenated(given: Sequence[Type]) -> Type:
    return joined(given[0], given[1]) if "dyn" not in (given[0].name, given[1].name) else DYN


def _arithmetic() -> Sequence[Overload]:
    return (
        function("+", "int, int -> int", lambda left, right: whole(left + right)),
        function("+", "uint, uint -> uint", lambda left, right: unsigned(left + right)),
        function("+", "double, double -> double", operator.add),
        function("+", "string, string -> string", operator.add),
        function("+", "bytes, bytes -> bytes", operator.add),
        function("+", "list, list ->", concatenated, _concatenated),
        function("+", "timestamp, duration -> timestamp", lambda left, right: moment(lambda: left + right)),
        function("+", "duration, timestamp -> timestamp", lambda left, right: moment(lambda: left + right)),
        function("+", "duration, duration -> duration", operator.add),
        function("-", "int, int -> int", lambda left, right: whole(left - right)),
        function("-", "uint, uint -> uint", lambda left, right: unsigned(left - right)),
        function("-", "double, double -> double", operator.sub),
        function("-", "timestamp, timestamp -> duration", operator.sub),
        function("-", "timestamp, duration -> timestamp", lambda left, right: moment(lambda: left - right)),
        function("-", "duration, duration -> duration", operator.sub),
        function("*", "int, int -> int", lambda left, right: whole(left * right)),
        function("*", "uint, uint -> uint", lambda left, right: unsigned(left * right)),
        function("*", "double, double -> double", operator.mul),
        function("/", "int, int -> int", lambda left, right: whole(quotient(left, right))),
        function("/", "uint, uint -> uint", lambda left, right: unsigned(quotient(left, right))),
        function("/", "double, double -> double", ratio),
        function("%", "int, int -> int", remainder),
        function("%", "uint, uint -> uint", lambda left, right: unsigned(remainder(left, right))),
        function("-_", "int -> int", lambda value: whole(-value)),
        function("-_", "double -> double", operator.neg),
        function("!_", "bool -> bool", operator.not_),
    )


def _conversions() -> Sequence[Overload]:
    texts = ("string", "bool", "int", "uint", "double", "bytes", "timestamp", "duration")
    return (
        *(function("int", f"{kind} -> int", _to_int) for kind in ("int", "uint", "double", "string")),
        function("int", "timestamp -> int", lambda value: int(value.timestamp())),
        *(function("uint", f"{kind} -> uint", _to_uint) for kind in ("uint", "int", "double", "string")),
        *(function("double", f"{kind} -> double", _to_double) for kind in ("double", "int", "uint", "string")),
        *(function("string", f"{kind} -> string", text_of) for kind in texts),
        function("bytes", "string -> bytes", str.encode),
        function("bytes", "bytes -> bytes", lambda value: value),
        function("bool", "string -> bool", _to_bool),
        function("bool", "bool -> bool", lambda value: value),
        function("dyn", "dyn -> dyn", lambda value: value),
        function("type", "dyn -> type", lambda value: Type(type_name(value))),
        function("duration", "string -> duration", parse_duration),
        function("duration", "duration -> duration", lambda value: value),
        function("timestamp", "string -> timestamp", _time),
        function("timestamp", "int -> timestamp", lambda value: moment(lambda: datetime.fromtimestamp(value, UTC))),
        function("timestamp", "timestamp -> timestamp", lambda value: value),
    )


OVERLOADS: Sequence[Overload] = (
    function("==", "dyn, dyn -> bool", equal),
    function("!=", "dyn, dyn -> bool", lambda left, right: not equal(left, right)),
    function("in", "dyn, list -> bool", contains),
    function("in", "dyn, map -> bool", contains),
    *_orders(),
    *_arithmetic(),
    *_conversions(),
    *(declared("size", f"{kind} -> int", len) for kind in ("string", "bytes", "list", "map")
      for declared in (function, member)),
    member("contains", "string, string -> bool", lambda text, part: part in text),
    member("startsWith", "string, string -> bool", str.startswith),
    member("endsWith", "string, string -> bool", str.endswith),
    member("matches", "string, string -> bool", matches),
    function("matches", "string, string -> bool", matches),
    *_parts(),
)  # fmt: skip
