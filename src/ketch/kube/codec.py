"""Frozen structs that keep what they do not know, and their way from and to JSON.

A kind is declared once, as a ``KubeStruct``; an API server of another version may send fields the declaration lacks.
They are kept in ``unknown_fields`` at every level, so that decode → change one field → encode loses nothing.
Decoding trusts the server's validation: scalars pass unchecked, only structure is converted.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

S = TypeVar("S", bound="KubeStruct")
Converter = Callable[[Any], Any]

MicroTime = Annotated[datetime, "micro"]
"""metav1.MicroTime: the server refuses it without a fraction, so all six digits are written."""

JSON = Annotated[Mapping[str, Any], "json"]
"""A value that is JSON already, and may be large: it is passed on as it is."""

_NO_UNKNOWN: Mapping[str, Any] = {}


class KubeStruct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A frozen value with camelCase wire names; a field equal to its default is not sent.

    Fields that distinguish "absent" from "zero" (Go pointers) default to None.
    """

    discarded: ClassVar[frozenset[str]] = frozenset()
    """Wire names that carry nothing the class does not say itself."""

    unknown_fields: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any], name="unknownFields__")


class _Plan(msgspec.Struct, frozen=True):
    """How one struct type is converted: by wire name for decoding, by attribute for encoding."""

    decoders: Mapping[str, tuple[str, Converter | None]]
    encoders: tuple[tuple[str, str, Any, Converter | None], ...]


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC as Kubernetes writes it: whole seconds for metav1.Time, microseconds when there are any."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def format_micro_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as metav1.MicroTime must be."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 text names, timezone-aware. Raises ValueError."""
    return datetime.fromisoformat(text)


def _decode_struct(kind: type[S]) -> Converter:
    return lambda raw: decode(kind, raw)


def _plain(annotation: Any) -> Any:
    """A type without what it says to schemas."""
    marked = get_origin(annotation) is Annotated and annotation != MicroTime
    return get_args(annotation)[0] if marked else annotation


def _decoder(annotation: Any) -> Converter | None:
    """The converter from JSON for a field's type; None when the JSON value is already right."""
    annotation = _plain(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        inner = [_decoder(argument) for argument in arguments if argument is not NoneType]
        return next((converter for converter in inner if converter), None)
    if annotation in (datetime, MicroTime):
        return parse_time
    if isinstance(annotation, type) and issubclass(annotation, KubeStruct):
        return _decode_struct(annotation)
    if origin is tuple:
        element = _decoder(arguments[0])
        return tuple if element is None else lambda raw: tuple(map(element, raw))
    if origin is not None and arguments and isinstance(origin, type) and issubclass(origin, Mapping):
        value = _decoder(arguments[1])
        return None if value is None else lambda raw: {key: value(item) for key, item in raw.items()}
    return None


def _encode_value(value: Any) -> Any:
    if isinstance(value, KubeStruct):
        return encode(value)
    if isinstance(value, tuple):
        return [_encode_value(item) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Mapping):
        return {key: _encode_value(item) for key, item in cast("Mapping[str, Any]", value).items()}
    return value


def _encoder(annotation: Any) -> Converter | None:
    """None for types whose values are JSON already."""
    if annotation == JSON:
        return None
    plain = {str, int, float, bool, NoneType}
    annotation = _plain(annotation)
    arguments = set(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else {annotation}
    if MicroTime in arguments:
        return format_micro_time
    return None if arguments <= plain else _encode_value


@cache  # one plan per struct type, made on first use
def _plan(kind: type[KubeStruct]) -> _Plan:
    hints = get_type_hints(kind, include_extras=True)
    decoders: dict[str, tuple[str, Converter | None]] = {}
    encoders: list[tuple[str, str, Any, Converter | None]] = []
    for field in msgspec.structs.fields(kind):
        if field.name == "unknown_fields":
            continue
        default = field.default if field.default is not msgspec.NODEFAULT else None
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        decoders[field.encode_name] = (field.name, _decoder(hints[field.name]))
        encoders.append((field.name, field.encode_name, default, _encoder(hints[field.name])))
    return _Plan(decoders, tuple(encoders))


def decode(kind: type[S], raw: Mapping[str, Any]) -> S:
    """``raw`` as a value of ``kind``. JSON nulls count as absent; unknown fields are kept, shared with ``raw``."""
    decoders, discarded = _plan(kind).decoders, kind.discarded
    values: dict[str, Any] = {}
    unknown: dict[str, Any] | None = None
    for name, value in raw.items():
        known = decoders.get(name)
        if known is None:
            if name in discarded:
                continue
            if unknown is None:
                unknown = {}
            unknown[name] = value
        elif value is not None:
            attribute, convert = known
            values[attribute] = value if convert is None else convert(value)
    return kind(unknown_fields=unknown or _NO_UNKNOWN, **values)


def encode(value: KubeStruct) -> dict[str, Any]:
    """``value`` as a JSON-ready dict: defaults and None left out, unknown fields put back."""
    result: dict[str, Any] = dict(value.unknown_fields)
    for attribute, name, default, convert in _plan(type(value)).encoders:
        item = getattr(value, attribute)
        if item is not None and item != default:
            result[name] = item if convert is None else convert(item)
    return result
