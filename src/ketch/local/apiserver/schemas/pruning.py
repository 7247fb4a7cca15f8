"""Dropping what a schema does not know; what is left unchanged is not copied."""

from collections.abc import Mapping
from typing import Any, cast

from ketch.local.apiserver.schemas.nodes import Node

IDENTITY = frozenset({"apiVersion", "kind", "metadata"})


def prune(node: Node, value: Any, path: str, unknown: list[str]) -> Any:
    """``value`` without unknown fields, whose paths are added to ``unknown``.

    For built-in kinds null counts as absent, as their decoder has it.
    """
    if isinstance(value, dict):
        if node.is_any or (node.type and node.type != "object"):
            return cast("Any", value)
        return _prune_object(node, cast("dict[str, Any]", value), path, unknown)
    if isinstance(value, list) and node.type == "array":
        items = cast("list[Any]", value)
        element = node.items
        if element.is_any or (element.type not in ("object", "array") and element.type):
            return items
        pruned: list[Any] = [prune(element, item, f"{path}[{index}]", unknown) for index, item in enumerate(items)]
        return items if all(map(_is, pruned, items)) else pruned
    return cast("Any", value)


def _is(left: object, right: object) -> bool:
    return left is right


def _prune_object(node: Node, value: dict[str, Any], path: str, unknown: list[str]) -> dict[str, Any]:
    changed: dict[str, Any] | None = None
    for name, item in value.items():
        if item is None and node.builtin:
            changed = changed if changed is not None else dict(value)
            del changed[name]
            continue
        child = node.child(name)
        if child is None:
            if node.preserve_unknown or (node.embedded and name in IDENTITY):
                continue
            unknown.append(f"{path}.{name}" if path else name)
            changed = changed if changed is not None else dict(value)
            del changed[name]
            continue
        if type(item) is dict or type(item) is list:
            pruned = prune(child, item, f"{path}.{name}" if path else name, unknown)
            if pruned is not item:
                changed = changed if changed is not None else dict(value)
                changed[name] = pruned
    return value if changed is None else changed


def complete(node: Node, value: Any) -> None:
    """Fill in a custom resource's defaults, in place; defaults of a field that is absent come before its children's."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        for name, raw in node.properties.items():
            if "default" in raw and (name not in fields or (fields[name] is None and not raw.get("nullable"))):
                fields[name] = _copied(raw["default"])
        for name, item in fields.items():
            if isinstance(item, dict | list) and (child := node.child(name)) is not None:
                complete(child, item)
    elif isinstance(value, list) and node.type == "array":
        for item in cast("list[Any]", value):
            complete(node.items, item)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in cast("Mapping[str, Any]", value).items()}
    return [_copied(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value
