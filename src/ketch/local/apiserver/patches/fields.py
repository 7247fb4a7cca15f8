"""Sets of fields, in FieldsV1 form: ``{"f:spec": {"f:replicas": {}}}``.

A key is ``f:<name>`` (object field), ``k:<json>`` (element of a keyed list), ``v:<json>`` (element of a set); ``.``
is the element itself. An empty dict is a leaf: the field with all below it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.schemas.nodes import ANYTHING, Node

Fields = dict[str, Any]
NOT_OWNED: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        f"f:{name}": {}
        for name in (
            "name",
            "namespace",
            "uid",
            "generateName",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
            "generation",
            "selfLink",
            "managedFields",
        )
    },
}
"""Nobody owns an object's identity."""


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def element_key(node: Node, item: Any) -> str:
    """The key of a list's element."""
    if node.list_type == "set":
        return f"v:{_text(item)}"
    fields = cast("Mapping[str, Any]", item) if isinstance(item, dict) else NOTHING
    return "k:" + _text(
        {key: value for key in node.list_keys if (value := list_key_value(node, fields, key)) is not None}
    )


def list_key_value(node: Node, fields: Mapping[str, Any], key: str) -> Any:
    """A list key's value in an element, its default when absent."""
    if key in fields:
        return fields[key]
    if key == "protocol" and node.builtin:
        return "TCP"
    return node.items.properties.get(key, {}).get("default")


def granular(node: Node, value: Any) -> bool:
    """Whether parts of ``value`` may have different owners."""
    if isinstance(value, dict):
        return not (node.atomic_map or node.int_or_string or (node.is_any and node.builtin))
    return (
        isinstance(value, list)
        and node.list_type in ("set", "map")
        and (node.list_type == "set" or bool(node.list_keys))
    )


def field_set(node: Node, value: Any) -> Fields:
    """All fields of ``value``; empty for a leaf."""
    if not granular(node, value):
        return {}
    if isinstance(value, dict):
        return {
            f"f:{name}": field_set(node.child(name) or ANYTHING, item)
            for name, item in cast("dict[str, Any]", value).items()
        }
    items = cast("list[Any]", value)
    if node.list_type == "set":
        return {element_key(node, item): {} for item in items}
    return {element_key(node, item): {".": {}, **field_set(node.items, item)} for item in items}


def changed(node: Node, old: Any, new: Any) -> tuple[Fields, Fields]:
    """Fields that ``new`` adds or gives another value, and fields that it lacks."""
    if not granular(node, old) or not granular(node, new) or type(old) is not type(new):
        raise AssertionError("only granular values are compared")
    if isinstance(new, dict):
        before = {f"f:{name}": (node.child(name) or ANYTHING, item) for name, item in old.items()}
        after = {
            f"f:{name}": (node.child(name) or ANYTHING, item) for name, item in cast("dict[str, Any]", new).items()
        }
    else:
        before = {element_key(node, item): (node.items, item) for item in old}
        after = {element_key(node, item): (node.items, item) for item in cast("list[Any]", new)}
    modified: Fields = {}
    removed: Fields = {}
    itself: Fields = {".": {}} if isinstance(new, list) and node.list_type == "map" else {}
    for key, (child, item) in after.items():
        if key not in before:
            modified[key] = {**itself, **field_set(child, item)}
        elif (was := before[key][1]) is not item and was != item:
            if type(was) is type(item) and granular(child, was) and granular(child, item):
                more, less = changed(child, was, item)
                if more:
                    modified[key] = more
                if less:
                    removed[key] = less
            else:
                modified[key] = field_set(child, item)
    for key, (child, item) in before.items():
        if key not in after:
            removed[key] = {**itself, **field_set(child, item)}
    return modified, removed


def union(left: Fields, right: Fields) -> Fields:
    """Fields in either."""
    if not left or not right:
        return {**left, **right} if left or right else {}
    result = dict(left)
    for key, below in right.items():
        result[key] = union(result[key], below) if key in result else below
    return result


def difference(left: Fields, right: Fields) -> Fields:
    """Fields of ``left`` that are not in ``right``."""
    result: Fields = {}
    for key, below in left.items():
        if key not in right:
            result[key] = below
        elif below:
            rest = difference(below, right[key] or {".": {}})
            if rest:
                result[key] = rest
        elif right[key] and "." not in right[key]:
            result[key] = below
    return result


def intersection(left: Fields, right: Fields) -> Fields:
    """Fields in both; a leaf meets whatever lies below it."""
    result: Fields = {}
    for key, below in left.items():
        if key in right:
            if not below or not right[key]:
                result[key] = below or right[key]
            elif common := intersection(below, right[key]):
                result[key] = common
    return result


def paths(fields: Fields, prefix: str = "") -> Iterator[str]:
    """The leaves as text: ``.spec.containers[name="a"].image``."""
    for key, below in sorted(fields.items()):
        if key == ".":
            yield prefix
            continue
        kind, text = key[:1], key[2:]
        if kind == "f":
            path = f"{prefix}.{text}"
        elif kind == "k":
            parts = ",".join(f"{name}={_text(value)}" for name, value in orjson.loads(text).items())
            path = f"{prefix}[{parts}]"
        else:
            path = f"{prefix}[={text}]"
        if below:
            yield from paths(below, path)
        else:
            yield path
