"""Structural schemas: one tree for built-in kinds and custom resources, made on demand.

A ``Node`` says what a value may be and how lists and maps merge. Children are made when first asked for, so that
recursive types cost nothing and a start reads no schema that nobody uses.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.patterns import PatternError, compiled

Definitions = Callable[[str], "Node"]
REFERENCE_PREFIX = "#/$defs/"


class Node:
    """One schema. ``type`` is empty where any JSON is allowed.

    ``list_type`` is atomic, set or map (with ``list_keys``); ``atomic_map`` marks a map owned as a whole.
    ``merge_key`` and ``merge_strategies`` serve the strategic merge patch.
    """

    def __init__(self, schema: Mapping[str, Any], definitions: Definitions, *, builtin: bool) -> None:
        self.schema = schema
        self.builtin = builtin
        self._definitions = definitions
        self.type: str = schema.get("type", "")
        self.format: str = schema.get("format", "")
        self.int_or_string: bool = self.format == "int-or-string" or bool(schema.get("x-kubernetes-int-or-string"))
        self.quantity: bool = self.format == "quantity"
        self.nullable: bool = bool(schema.get("nullable"))
        self.required: tuple[str, ...] = tuple(schema.get("required", NO_ITEMS))
        self.embedded: bool = bool(schema.get("x-kubernetes-embedded-resource"))
        self.preserve_unknown: bool = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        self.list_keys: tuple[str, ...] = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        self.atomic_map: bool = schema.get("x-kubernetes-map-type") == "atomic"
        self.merge_key: str = schema.get("x-kubernetes-patch-merge-key", "")
        strategies: str = schema.get("x-kubernetes-patch-strategy", "")
        self.merge_strategies: frozenset[str] = frozenset(filter(None, strategies.split(",")))
        self.list_type: str = schema.get("x-kubernetes-list-type", "atomic")
        if builtin and self.type == "object" and not schema.get("properties") and "additionalProperties" not in schema:
            self.preserve_unknown = True
        plain = {"string": str, "boolean": bool}.get(self.type) if builtin and not self.format else None
        self.sufficient: type | None = plain
        """The Python type that alone makes a value good: most of an object's fields need no closer look."""
        self.shape: type | None = {"object": dict, "array": list}.get(self.type)
        """The Python type that an object or a list has."""
        self.unbounded: bool = not (self.embedded or "maxProperties" in schema or "minProperties" in schema)
        """Whether all that may be wrong with an object is in its fields."""
        self._children: dict[str, Node | None] = {}
        self.rules: Sequence[object] | None = None
        """What ``rules`` made of the rules at this place, once it was asked."""

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Raw schemas of the declared fields."""
        return self.schema.get("properties") or NOTHING

    def child(self, name: str) -> "Node | None":
        """The node of a field; None when it is not known."""
        try:
            return self._children[name]
        except KeyError:
            raw = self.properties.get(name)
            node = self.additional if raw is None else self._node(raw)
            self._children[name] = node
            return node

    @cached_property
    def additional(self) -> "Node | None":
        """The node of fields that are not declared; None when there may be none."""
        raw = self.schema.get("additionalProperties")
        if isinstance(raw, Mapping):
            return self._node(raw)  # pyright: ignore[reportUnknownArgumentType]  # JSON
        if raw is True or (self.preserve_unknown and not self.properties):
            return ANYTHING
        return None

    @cached_property
    def items(self) -> "Node":
        """The node of a list's elements."""
        raw = self.schema.get("items")
        return self._node(raw) if isinstance(raw, Mapping) else ANYTHING  # pyright: ignore[reportUnknownArgumentType]

    @cached_property
    def pattern(self) -> Any:
        """The compiled ``pattern``; None without one, and for one of an older database that cannot be read."""
        text = self.schema.get("pattern")
        try:
            return compiled(text) if text else None
        except PatternError:
            return None

    def branches(self, name: str) -> "list[Node]":
        """The nodes of ``allOf``, ``anyOf`` or ``oneOf``."""
        return [self._node(raw) for raw in self.schema.get(name, ())]

    @cached_property
    def negation(self) -> "Node | None":
        """The node of ``not``."""
        raw = self.schema.get("not")
        return self._node(raw) if raw else None

    def _node(self, raw: Mapping[str, Any]) -> "Node":
        reference = raw.get("$ref")
        if reference is None:
            return Node(raw, self._definitions, builtin=self.builtin)
        node = self._definitions(reference.removeprefix(REFERENCE_PREFIX))
        own = {key: value for key, value in raw.items() if key.startswith("x-kubernetes")}
        if not own:
            return node
        return Node({**node.schema, **own}, self._definitions, builtin=self.builtin)

    @cached_property
    def has_rules(self) -> bool:
        """Whether rules between fields stand here or below."""
        return not self.builtin and _any_part(self.schema, lambda part: "x-kubernetes-validations" in part)

    @cached_property
    def converts(self) -> bool:
        """Whether expressions see something here or below otherwise than JSON has it."""
        return not self.builtin and _any_part(self.schema, _converts)

    @cached_property
    def is_any(self) -> bool:
        """Whether any JSON is allowed."""
        return not self.type and not self.properties and not self.int_or_string


def _converts(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return (
        kind == "number"
        or (kind == "string" and schema.get("format") in ("date-time", "date", "duration", "byte"))
        or (kind == "array" and schema.get("x-kubernetes-list-type") in ("set", "map"))
    )


def _any_part(schema: Mapping[str, Any], holds: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Whether something holds of a raw schema or one below it."""
    if holds(schema):
        return True
    below = [*(schema.get("properties") or NOTHING).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(_any_part(part, holds) for part in below if isinstance(part, Mapping))  # pyright: ignore[reportUnknownArgumentType]


def _nothing(name: str) -> Node:
    raise KeyError(name)


ANYTHING = Node({"x-kubernetes-preserve-unknown-fields": True}, _nothing, builtin=False)
