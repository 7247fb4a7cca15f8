"""What is wrong with a value, in the API's words."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from ketch.kube.causes import invalid, required, shown, unsupported
from ketch.kube.codec import parse_time
from ketch.kube.errors import Cause
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.local.apiserver.schemas.nodes import Node

TYPE_NAMES: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
}
PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
INT_LIMITS = {"int32": 2**31, "int64": 2**63}
_BYTE = re.compile(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _is_time,
    "byte": lambda text: bool(_BYTE.match(text)),
    "date": lambda text: bool(re.match(r"^\d{4}-\d{2}-\d{2}$", text)),
    "uuid": lambda text: bool(re.match(r"(?i)^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$", text)),
    "ipv4": lambda text: bool(re.match(r"^(\d{1,3}\.){3}\d{1,3}$", text)),
    "email": lambda text: "@" in text,
    "uri": lambda text: bool(re.match(r"^[A-Za-z][A-Za-z0-9+.-]*:", text)),
}
"""Formats that are checked; others are documentation."""


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer():
        return "number"
    return TYPE_NAMES.get(cast("type", type(value)), "unknown")


def _fits(node: Node, value: Any) -> bool:
    if node.int_or_string:
        whole = isinstance(value, str | int) or (isinstance(value, float) and value.is_integer())
        return whole and not isinstance(value, bool)
    if node.quantity:
        return isinstance(value, str | int | float) and not isinstance(value, bool)
    if not node.type:
        return True
    if isinstance(value, bool):
        return node.type == "boolean"
    if node.type == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, PYTHON_TYPES[node.type])


def check(node: Node, value: Any, path: str, causes: list[Cause]) -> None:
    """Add to ``causes`` what is wrong with ``value``."""
    if node.builtin and type(value) is node.shape:
        look = _check_object if node.shape is dict else _check_list
        look(node, value, path, causes)
        return
    if value is None and (node.nullable or node.is_any):
        return
    if not _fits(node, value):
        wanted = "integer or string" if node.int_or_string else node.type
        given = _type_of(value)
        message = f'Invalid value: "{given}": {path or "body"} in body must be of type {wanted}: "{given}"'
        causes.append(Cause("FieldValueTypeInvalid", message, path))
        return
    if isinstance(value, dict):
        _check_object(node, cast("dict[str, Any]", value), path, causes)
    elif isinstance(value, list):
        _check_list(node, cast("list[Any]", value), path, causes)
    elif isinstance(value, str):
        _check_string(node, value, path, causes)
    elif not isinstance(value, bool) and value is not None:
        _check_number(node, value, path, causes)
    if not node.builtin:
        _check_general(node, value, path, causes)


def _check_object(node: Node, value: dict[str, Any], path: str, causes: list[Cause]) -> None:
    prefix = f"{path}." if path else ""
    causes += [
        required(f"{prefix}{name}")
        for name in node.required
        if name not in value or (node.builtin and value[name] == "" and name == "name")
    ]
    for name, item in value.items():
        child = node.child(name)
        if child is None or child.sufficient is type(item):
            continue
        if child is not node and not child.is_any:
            check(child, item, f"{path}[{name}]" if name not in node.properties else f"{prefix}{name}", causes)
    if node.unbounded:
        return
    schema = node.schema
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        message = f"Too many: {len(value)}: must have at most {schema['maxProperties']} items"
        causes.append(Cause("FieldValueTooMany", message, path))
    if "minProperties" in schema and len(value) < schema["minProperties"]:
        message = f"{path} in body should have at least {schema['minProperties']} properties"
        causes.append(invalid(path, value, message))
    if node.embedded:
        missing = [name for name in ("apiVersion", "kind") if not value.get(name)]
        causes += [required(f"{prefix}{name}", "must not be empty") for name in missing]


def _identity(node: Node, item: Any) -> str:
    if node.list_type == "map" and isinstance(item, dict):
        fields = cast("dict[str, Any]", item)
        values = {key: fields.get(key, node.items.properties.get(key, {}).get("default")) for key in node.list_keys}
        return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()


def _check_list(node: Node, value: list[Any], path: str, causes: list[Cause]) -> None:
    schema, element = node.schema, node.items
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        message = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        causes.append(Cause("FieldValueTooMany", message, path))
    if "minItems" in schema and len(value) < schema["minItems"]:
        causes.append(invalid(path, len(value), f"{path} in body should have at least {schema['minItems']} items"))
    if not element.is_any:
        for index, item in enumerate(value):
            if element.sufficient is type(item):
                continue
            check(element, item, f"{path}[{index}]", causes)
    if not node.builtin and node.list_type in ("set", "map") and len(value) > 1:
        seen: set[str] = set()
        for index, item in enumerate(value):
            identity = _identity(node, item)
            if identity in seen:
                causes.append(Cause("FieldValueDuplicate", f"Duplicate value: {identity}", f"{path}[{index}]"))
            seen.add(identity)


def _check_string(node: Node, value: str, path: str, causes: list[Cause]) -> None:
    schema = node.schema
    if node.quantity:
        try:
            parse_quantity(value)
        except QuantityError as error:
            causes.append(invalid(path, value, str(error)))
        return
    if node.format and (known := FORMATS.get(node.format)) and not known(value):
        causes.append(invalid(path, value, f"{path} in body must be of type {node.format}: {shown(value)}"))
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        message = f"Too long: may not be more than {schema['maxLength']} bytes"
        causes.append(Cause("FieldValueTooLong", message, path))
    if "minLength" in schema and len(value) < schema["minLength"]:
        message = f"{path} in body should be at least {schema['minLength']} chars long"
        causes.append(invalid(path, value, message))
    if node.pattern is not None and not node.pattern.search(value):
        causes.append(invalid(path, value, f"{path} in body should match '{schema['pattern']}'"))


def _check_number(node: Node, value: float, path: str, causes: list[Cause]) -> None:
    schema = node.schema
    limit = INT_LIMITS.get(node.format)
    if limit is not None and not -limit <= value < limit:
        causes.append(invalid(path, value, f"must be a {node.format} value"))
    if node.builtin:
        return
    if "minimum" in schema:
        low, exclusive = schema["minimum"], bool(schema.get("exclusiveMinimum"))
        if value < low or (exclusive and value == low):
            word = "greater than" if exclusive else "greater than or equal to"
            causes.append(invalid(path, value, f"{path} in body should be {word} {low}"))
    if "maximum" in schema:
        high, exclusive = schema["maximum"], bool(schema.get("exclusiveMaximum"))
        if value > high or (exclusive and value == high):
            word = "less than" if exclusive else "less than or equal to"
            causes.append(invalid(path, value, f"{path} in body should be {word} {high}"))
    if schema.get("multipleOf") and not math.isclose(math.remainder(value, schema["multipleOf"]), 0, abs_tol=1e-9):
        causes.append(invalid(path, value, f"{path} in body should be a multiple of {schema['multipleOf']}"))


def _holds(node: Node, value: Any, path: str) -> bool:
    found: list[Cause] = []
    check(node, value, path, found)
    return not found


def _check_general(node: Node, value: Any, path: str, causes: list[Cause]) -> None:
    """What custom resources' schemas may also say."""
    schema = node.schema
    if "enum" in schema and value not in schema["enum"]:
        causes.append(unsupported(path, value, schema["enum"]))
    if "allOf" in schema:
        for branch in node.branches("allOf"):
            check(branch, value, path, causes)
    if "anyOf" in schema and not any(_holds(branch, value, path) for branch in node.branches("anyOf")):
        causes.append(invalid(path, value, f"{path} in body must validate at least one schema (anyOf)"))
    if "oneOf" in schema and sum(_holds(branch, value, path) for branch in node.branches("oneOf")) != 1:
        causes.append(invalid(path, value, f"{path} in body must validate one and only one schema (oneOf)"))
    if node.negation is not None and _holds(node.negation, value, path):
        causes.append(invalid(path, value, f"{path} in body must not validate the schema (not)"))
