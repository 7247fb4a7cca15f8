"""Sets of fields, in FieldsV1 form: ``{"f:spec": {"f:replicas": {}}}``.

A key is ``f:<name>`` (object field), ``k:<json>`` (element of a keyed list), ``v:<json>`` (element of a set). An empty
dict is the field itself; with fields below, ``.`` says that the field itself is meant too. So an empty map is owned
without what others put into it.
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
        child = node.child
        return {
            # Most fields are leaves, and need no look at their schema.
            "f:" + name: field_set(child(name) or ANYTHING, item) if type(item) is dict or type(item) is list else {}
            for name, item in cast("dict[str, Any]", value).items()
        }
    items = cast("list[Any]", value)
    if node.list_type == "set":
        return {element_key(node, item): {} for item in items}
    return {element_key(node, item): {".": {}, **field_set(node.items, item)} for item in items}


def _parts(node: Node, value: Any) -> dict[str, tuple[Node, Any]]:
    """The parts of a granular value by their keys, each with its schema."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {f"f:{name}": (node.child(name) or ANYTHING, item) for name, item in fields.items()}
    return {element_key(node, item): (node.items, item) for item in value}


def misfits(node: Node, value: Any, path: str = "") -> Iterator[str]:
    """Elements of lists that cannot be told apart, as an applier may not state them."""
    if not granular(node, value):
        return
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            if isinstance(item, dict | list):
                yield from misfits(node.child(name) or ANYTHING, item, f"{path}.{name}")
        return
    seen: set[str] = set()
    for item in cast("list[Any]", value):
        key = element_key(node, item)
        where = next(paths({key: {}}, path))
        fields = cast("Mapping[str, Any]", item) if isinstance(item, dict) else NOTHING
        missing = [each for each in node.list_keys if list_key_value(node, fields, each) is None]
        if node.list_type == "map" and missing and len(missing) == len(node.list_keys):
            yield f"{path}: element omits key field {missing[0]!r}"
        elif key in seen:
            yield f"{path}: duplicate entries for key {where.removeprefix(path)}"
        seen.add(key)
        yield from misfits(node.items, item, where)


def changed(node: Node, old: Any, new: Any) -> tuple[Fields, Fields]:
    """Fields that ``new`` adds or gives another value, and fields that it lacks."""
    if not granular(node, old) or not granular(node, new) or type(old) is not type(new):
        raise AssertionError("only granular values are compared")
    before, after = _parts(node, old), _parts(node, new)
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
                if below := field_set(child, was):
                    removed[key] = below  # of another shape: what lay below is gone
    for key, (child, item) in before.items():
        if key not in after:
            removed[key] = {**itself, **field_set(child, item)}
    return modified, removed


def _belongs(below: Fields) -> bool:
    """Whether the field itself is in the set, not only what lies below it."""
    return not below or "." in below


def _children(below: Fields) -> Fields:
    return {key: item for key, item in below.items() if key != "."} if "." in below else below


def _joined(below: Fields, *, belongs: bool) -> Fields:
    return {".": {}, **below} if belongs and below else below


def union(left: Fields, right: Fields) -> Fields:
    """Fields in either."""
    if not left or not right:
        return left or right
    result = dict(left)
    for key, below in right.items():
        if key not in result or key == ".":
            result[key] = below
        elif (mine := result[key]) != below:
            belongs = _belongs(mine) or _belongs(below)
            result[key] = _joined(union(_children(mine), _children(below)), belongs=belongs)
    return result


def difference(left: Fields, right: Fields) -> Fields:
    """Fields of ``left`` that are not in ``right``."""
    result: Fields = {}
    for key, below in left.items():
        if key not in right:
            result[key] = below
        elif key != ".":
            others = right[key]
            belongs = _belongs(below) and not _belongs(others)
            rest = difference(_children(below), _children(others))
            if rest or belongs:
                result[key] = _joined(rest, belongs=belongs)
    return result


def intersection(left: Fields, right: Fields) -> Fields:
    """Fields in both."""
    result: Fields = {}
    for key, below in left.items():
        if key not in right:
            continue
        if key == ".":
            result[key] = {}
            continue
        belongs = _belongs(below) and _belongs(right[key])
        common = intersection(_children(below), _children(right[key]))
        if common or belongs:
            result[key] = _joined(common, belongs=belongs)
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
