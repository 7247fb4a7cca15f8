"""OpenAPI v2: one document of everything, for clients that read no v3; as JSON, and as gnostic's protobuf."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import orjson

Schema = Mapping[str, Any]
DEFINITIONS = "#/definitions/"
COMPONENTS = "#/components/schemas/"
VARINT, FIXED64, BYTES = 0, 1, 2


def document(version: str, paths: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """A v2 document of what v3 says."""
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": {path: _path_item(item) for path, item in paths.items()},
        "definitions": {name: _schema(schema) for name, schema in components.items()},
    }


def _schema(value: Any) -> Any:
    """A v3 schema in v2's words: a reference stands alone, with its siblings beside it."""
    if isinstance(value, list):
        return [_schema(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    made = {name: _schema(item) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace(COMPONENTS, DEFINITIONS)
    wrapped = cast("list[dict[str, Any]]", made.get("allOf") or [])
    if len(wrapped) == 1 and "$ref" in wrapped[0]:
        rest: dict[str, Any] = {name: item for name, item in made.items() if name not in ("allOf", "default")}
        return rest | {"$ref": wrapped[0]["$ref"]}
    return made


def _path_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        method: [_parameter(each) for each in operation] if method == "parameters" else _operation(operation)
        for method, operation in item.items()
    }


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in parameter.items() if name != "schema"} | dict(parameter["schema"])


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: item for name, item in operation.items() if name not in ("requestBody", "parameters", "responses")}
    made["parameters"] = [_parameter(each) for each in operation.get("parameters", ())]
    if body := operation.get("requestBody"):
        kinds = list(body["content"])
        made["consumes"] = kinds
        schema = _schema(body["content"][kinds[0]]["schema"])
        made["parameters"].append(
            {"name": "body", "in": "body", "required": bool(body.get("required")), "schema": schema}
        )
    made["produces"] = ["application/json"]
    made["responses"] = {
        code: {"description": each["description"], "schema": _schema(each["content"]["application/json"]["schema"])}
        for code, each in operation["responses"].items()
    }
    return made


# protobuf: gnostic's openapi.v2.Document -------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    made = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def _part(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _text(number: int, value: Any) -> bytes:
    return _part(number, str(value).encode())


def _whole(number: int, value: Any) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(int(value))


def _double(number: int, value: Any) -> bytes:
    return _varint(number << 3 | FIXED64) + struct.pack("<d", float(value))


def _any(number: int, value: Any) -> bytes:
    """gnostic's Any: the value as YAML."""
    return _part(number, _text(2, orjson.dumps(value).decode()))


def _texts(number: int, values: Sequence[Any]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _additional(number: int, value: Any) -> bytes:
    return _part(number, _whole(2, value) if isinstance(value, bool) else _part(1, _encoded(value)))


def _named(number: int, values: Mapping[str, Any]) -> bytes:
    return _part(number, b"".join(_part(1, _text(1, name) + _part(2, _encoded(item))) for name, item in values.items()))


_FIELDS: Mapping[str, tuple[int, Callable[[int, Any], bytes]]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _whole),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _whole),
    "maxLength": (11, _whole),
    "minLength": (12, _whole),
    "pattern": (13, _text),
    "maxItems": (14, _whole),
    "minItems": (15, _whole),
    "uniqueItems": (16, _whole),
    "maxProperties": (17, _whole),
    "minProperties": (18, _whole),
    "required": (19, _texts),
    "enum": (20, lambda number, values: b"".join(_any(number, value) for value in values)),
    "additionalProperties": (21, _additional),
    "type": (22, lambda number, value: _part(number, _text(1, value))),
    "items": (23, lambda number, value: _part(number, _part(1, _encoded(value)))),
    "allOf": (24, lambda number, values: b"".join(_part(number, _encoded(value)) for value in values)),
    "properties": (25, _named),
}
EXTENSION = 31


def _encoded(schema: Schema) -> bytes:
    return b"".join(_fields(schema))


def _fields(schema: Schema) -> Iterator[bytes]:
    for name, value in schema.items():
        if name in _FIELDS:
            number, write = _FIELDS[name]
            yield write(number, value)
        elif name.startswith("x-"):
            yield _part(EXTENSION, _text(1, name) + _any(2, value))


def protobuf(made: Mapping[str, Any]) -> bytes:
    """A document as gnostic's message; kinds alone, since nobody reads paths in this form."""
    info = _text(1, made["info"]["title"]) + _text(2, made["info"]["version"])
    return _text(1, made["swagger"]) + _part(2, info) + _part(8, b"") + _named(9, made["definitions"])
