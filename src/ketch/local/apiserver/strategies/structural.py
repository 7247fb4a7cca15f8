"""Structural schemas of custom resources: what a definition may say, and where it may not."""

from collections.abc import Mapping
from typing import Any, cast

from ketch.kube.causes import forbidden, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.patterns import PatternError, compiled
from ketch.local.apiserver.schemas import compile_schema
from ketch.local.apiserver.schemas.checking import check
from ketch.local.apiserver.schemas.nodes import Node
from ketch.local.apiserver.schemas.pruning import prune

TYPES = ["array", "boolean", "integer", "number", "object", "string"]
LIST_TYPES = ["atomic", "map", "set"]
MAP_TYPES = ["atomic", "granular"]
REFUSED = ("$ref", "definitions", "patternProperties", "dependencies", "id", "additionalItems")
RULES = "x-kubernetes-validations"


def schema_causes(schema: Mapping[str, Any], path: str) -> list[Cause]:
    """What is wrong with the schema of a version."""
    causes: list[Cause] = []
    if schema.get("type") != "object":
        causes.append(invalid(f"{path}.type", schema.get("type", ""), "must be object at the root"))
    _structure(schema, path, causes)
    if not causes:
        # What the schema says of its own values can only be judged by a schema that is sound.
        _Contents(causes).look(compile_schema(schema).node, schema, path, correlatable=True, root=True)
    return causes


def _structure(schema: Mapping[str, Any], path: str, causes: list[Cause]) -> None:
    kind = schema.get("type", "")
    either = schema.get("x-kubernetes-int-or-string")
    if not kind and not (either or schema.get("x-kubernetes-preserve-unknown-fields")):
        causes.append(required(f"{path}.type", "must not be empty for specified object fields"))
    if kind and kind not in TYPES:
        causes.append(unsupported(f"{path}.type", kind, TYPES))
    if kind and either:
        causes.append(invalid(f"{path}.type", kind, "must be empty if x-kubernetes-int-or-string is true"))
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        message = "must be object if x-kubernetes-embedded-resource is true"
        causes.append(invalid(f"{path}.type", kind, message))
    causes += [forbidden(f"{path}.{name}", f"{name} is not supported") for name in REFUSED if name in schema]
    if schema.get("uniqueItems"):
        message = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        causes.append(forbidden(f"{path}.uniqueItems", message))
    if schema.get("properties") and schema.get("additionalProperties"):
        message = "additionalProperties and properties are mutual exclusive"
        causes.append(forbidden(f"{path}.additionalProperties", message))
    _words(schema, path, causes)
    if kind == "array":
        _list(schema, path, causes)
    for name, child in (schema.get("properties") or NOTHING).items():
        _structure(child, f"{path}.properties[{name}]", causes)
    if isinstance(schema.get("additionalProperties"), dict):
        _structure(schema["additionalProperties"], f"{path}.additionalProperties", causes)


def _words(schema: Mapping[str, Any], path: str, causes: list[Cause]) -> None:
    map_type = schema.get("x-kubernetes-map-type", "granular")
    if map_type not in MAP_TYPES:
        causes.append(unsupported(f"{path}.x-kubernetes-map-type", map_type, MAP_TYPES))
    if "pattern" in schema:
        try:
            compiled(schema["pattern"])
        except PatternError as error:
            message = f"must be a valid regular expression, but isn't: {error}"
            causes.append(invalid(f"{path}.pattern", schema["pattern"], message))


def _list(schema: Mapping[str, Any], path: str, causes: list[Cause]) -> None:
    items = schema.get("items")
    if not isinstance(items, dict):
        causes.append(required(f"{path}.items", "must be specified"))
        return
    _structure(cast("Mapping[str, Any]", items), f"{path}.items", causes)
    list_type, keys = schema.get("x-kubernetes-list-type", "atomic"), schema.get("x-kubernetes-list-map-keys")
    if list_type not in LIST_TYPES:
        causes.append(unsupported(f"{path}.x-kubernetes-list-type", list_type, LIST_TYPES))
    if list_type != "map":
        if keys:
            message = "must be map if x-kubernetes-list-map-keys is non-empty"
            causes.append(invalid(f"{path}.x-kubernetes-list-type", list_type, message))
        return
    if not keys:
        message = "must not be empty if x-kubernetes-list-type is map"
        causes.append(required(f"{path}.x-kubernetes-list-map-keys", message))
    element = cast("Mapping[str, Any]", items)
    known = cast("Mapping[str, Any]", element.get("properties") or NOTHING)
    for index, key in enumerate(keys or NO_ITEMS):
        where = f"{path}.x-kubernetes-list-map-keys[{index}]"
        if key not in known:
            causes.append(invalid(where, key, "entries must all be names of item properties"))
        elif "default" not in known[key] and key not in (element.get("required") or NO_ITEMS):
            message = "this property is in x-kubernetes-list-map-keys, so it must have a default or be required"
            causes.append(required(f"{path}.items.properties[{key}].default", message))


class _Contents:
    """Defaults that fit, rules that can be read."""

    def __init__(self, causes: list[Cause]) -> None:
        self._causes = causes

    def look(self, node: Node, schema: Mapping[str, Any], path: str, *, correlatable: bool, root: bool = False) -> None:
        """Judge this part of a schema and those below; ``correlatable``: an old value is known here."""
        if "default" in schema:
            self._default(node, schema["default"], f"{path}.default")
        if schema.get(RULES):
            from ketch.local.apiserver.strategies.rules import rule_causes  # noqa: PLC0415  # deferred: 20 ms, first rule

            for index, raw in enumerate(schema[RULES]):
                where = f"{path}.{RULES}[{index}]"
                self._causes += rule_causes(node, raw, where, correlatable=correlatable, root=root)
        for name, child in (schema.get("properties") or NOTHING).items():
            if not (root and name == "metadata") and (below := node.child(name)) is not None:
                self.look(below, child, f"{path}.properties[{name}]", correlatable=correlatable)
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict) and node.additional is not None:
            self.look(
                node.additional,
                cast("Mapping[str, Any]", additional),
                f"{path}.additionalProperties",
                correlatable=correlatable,
            )
        if isinstance(schema.get("items"), dict):
            keyed = correlatable and node.list_type == "map"
            self.look(node.items, schema["items"], f"{path}.items", correlatable=keyed)

    def _default(self, node: Node, value: Any, path: str) -> None:
        unknown: list[str] = []
        prune(node, value, "", unknown)
        self._causes += [invalid(path, value, f"must not have unknown fields: {name}") for name in unknown]
        found: list[Cause] = []
        check(node, value, path, found)
        self._causes += found
