"""Protobuf bodies as JSON: a table-driven decoder."""

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from ketch.kube.codec import format_time
from ketch.kube.errors import BadRequest

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
META = "k8s.io/apimachinery/pkg/apis/meta/v1"
DELETE_OPTIONS = f"{META}.DeleteOptions"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SIGN = 1 << 63
DEEPEST = 64


class WireError(ValueError):
    """The bytes are no such message."""


@cache
def _messages() -> Mapping[str, Mapping[str, tuple[str, str]]]:
    return orjson.loads((Path(__file__).parent / "fields.json").read_bytes())


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise WireError("a number does not end")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values (int, or memoryview)."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == VARINT:
            value, place = _varint(data, place)
            yield key >> 3, value - 2 * SIGN if value >= SIGN else value
            continue
        if wire == BYTES:
            length, place = _varint(data, place)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise WireError(f"wire type {wire} is not used by Kubernetes")
        if place + length > len(data):
            raise WireError("a field is longer than its message")
        yield key >> 3, data[place : place + length]
        place += length


def _text(value: Any) -> str:
    return bytes(value).decode()


def _values(data: memoryview) -> dict[int, Any]:
    return dict(_fields(data))


def _time(data: memoryview) -> str | None:
    parts = _values(data)
    if not parts:
        return None
    moment = datetime.fromtimestamp(parts.get(1, 0), UTC)
    return format_time(moment.replace(microsecond=parts.get(2, 0) // 1000))


def _int_or_string(data: memoryview) -> int | str:
    parts = _values(data)
    return _text(parts.get(3, b"")) if parts.get(1) else parts.get(2, 0)


def _quantity(data: memoryview) -> str:
    return _text(_values(data).get(1, b""))


def _raw(data: memoryview) -> Any:
    raw = bytes(_values(data).get(1, b""))
    return orjson.loads(raw) if raw else None


SPECIAL: Mapping[str, Callable[[memoryview], Any]] = {
    "k8s.io/apimachinery/pkg/api/resource.Quantity": _quantity,
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": _int_or_string,
    f"{META}.Time": _time,
    f"{META}.MicroTime": _time,
    f"{META}.FieldsV1": _raw,
    "k8s.io/apimachinery/pkg/runtime.RawExtension": _raw,
}
"""Messages whose JSON is no object of their fields."""


def _scalar(kind: str, value: Any) -> Any:
    match kind:
        case "string":
            return _text(value)
        case "bytes":
            return base64.b64encode(value).decode()
        case "bool":
            return bool(value)
        case "float64":
            return struct.unpack("<d", value)[0]
        case "float32":
            return struct.unpack("<f", value)[0]
        case _:
            return int(value)


def _value(kind: str, value: Any, depth: int) -> Any:
    if "." not in kind:
        return _scalar(kind, value)
    special = SPECIAL.get(kind)
    return special(value) if special else _message(kind, value, depth + 1)


def _map_entry(kind: str, data: memoryview, depth: int) -> tuple[str, Any]:
    parts = _values(data)
    key = _text(parts.get(1, b""))
    if kind.startswith("[]"):
        # A list as a map's value travels as a message that holds its items.
        items = [
            _value(kind[2:], item, depth) for number, item in _fields(parts.get(2, memoryview(b""))) if number == 1
        ]
        return key, items
    empty: Any = memoryview(b"") if kind in ("string", "bytes") or "." in kind else 0
    return key, _value(kind, parts.get(2, empty), depth)


def _message(name: str, data: memoryview, depth: int = 0) -> dict[str, Any]:
    if depth > DEEPEST:
        raise WireError("it is nested too deeply")
    known = _messages()[name]
    result: dict[str, Any] = {}
    for number, value in _fields(data):
        described = known.get(str(number))
        if described is None:
            continue
        field, kind = described
        if kind.startswith("[]"):
            result.setdefault(field, []).append(_value(kind[2:].removeprefix("*"), value, depth))
        elif kind.startswith("{}"):
            key, item = _map_entry(kind[2:], value, depth)
            result.setdefault(field, {})[key] = item
        elif not field:
            result.update(_message(kind.removeprefix("*"), value, depth + 1))
        else:
            item = _value(kind.removeprefix("*"), value, depth)
            # Go writes every field that is no pointer; its JSON leaves out those that are empty.
            if item is not None and (kind.startswith("*") or item not in ("", 0, False)):
                result[field] = item
    return result


def _root(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    area = group.partition(".")[0] or "core"
    return DELETE_OPTIONS if kind == "DeleteOptions" else f"k8s.io/api/{area}/{version}.{kind}"


def decode(body: bytes) -> dict[str, Any]:
    """The object in a protobuf body. Raises BadRequest."""
    if not body.startswith(MAGIC):
        raise BadRequest("the body of the request is no Kubernetes protobuf: its first bytes are not 'k8s'")
    try:
        parts = _values(memoryview(body)[len(MAGIC) :])
        identity = _values(parts.get(1, memoryview(b"")))
        api_version, kind = _text(identity.get(1, b"")), _text(identity.get(2, b""))
        name = _root(api_version, kind)
        if name not in _messages():
            raise BadRequest(f'no kind "{kind}" of "{api_version}" is read from protobuf here: send JSON')
        return {**_message(name, parts.get(2, memoryview(b""))), "apiVersion": api_version, "kind": kind}
    except (WireError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise BadRequest(f"the body of the request is no Kubernetes protobuf: {error}") from error
