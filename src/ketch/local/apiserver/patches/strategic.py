"""Strategic merge patch: merge patch that knows which lists are maps.

Directives: ``$patch: replace|delete|merge``, ``$retainKeys``, ``$deleteFromPrimitiveList/<field>``,
``$setElementOrder/<field>``.
"""

from collections.abc import Mapping
from typing import Any, cast

from ketch.kube.errors import BadRequest
from ketch.local.apiserver.schemas.nodes import ANYTHING, Node

PATCH = "$patch"
RETAIN = "$retainKeys"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
ORDER = "$setElementOrder/"
ACTIONS = ("replace", "delete", "merge")

Obj = dict[str, Any]


def strategic_merge_patch(obj: Mapping[str, Any], patch: Any, node: Node) -> dict[str, Any]:
    """``obj`` after the patch. Raises BadRequest."""
    if not isinstance(patch, dict):
        raise BadRequest("a strategic merge patch must be an object")
    return _merge_object(dict(obj), cast("Obj", patch), node)


def _action(patch: Obj) -> str:
    action = patch.get(PATCH, "merge")
    if action not in ACTIONS:
        raise BadRequest(f"strategic merge patch: unknown $patch {action!r}: use one of {', '.join(ACTIONS)}")
    return action


def _plain(patch: Obj) -> Obj:
    """A patch's content without its directives."""
    return {name: item for name, item in patch.items() if not name.startswith("$") and item is not None}


def _merge_object(value: Obj, patch: Obj, node: Node) -> Obj:
    action = _action(patch)
    if action == "replace":
        return _plain(patch)
    if action == "delete":
        return {}
    result = dict(value)
    if RETAIN in patch:
        kept = patch[RETAIN]
        result = {name: item for name, item in result.items() if name in kept}
    for name, item in patch.items():
        if name.startswith(DELETE_PRIMITIVES):
            field = name.removeprefix(DELETE_PRIMITIVES)
            if isinstance(result.get(field), list):
                result[field] = [each for each in result[field] if each not in item]
        elif name.startswith("$"):
            continue
        elif item is None:
            result.pop(name, None)
        else:
            result[name] = _merge_field(
                result.get(name), item, node.child(name) or ANYTHING, patch.get(f"{ORDER}{name}")
            )
    for name, order in patch.items():
        field = name.removeprefix(ORDER)
        if name.startswith(ORDER) and field not in patch and isinstance(result.get(field), list):
            result[field] = _ordered(result[field], order, node.child(field) or ANYTHING)
    return result


def _merge_field(value: Any, patch: Any, node: Node, order: Any) -> Any:
    if isinstance(patch, dict):
        base = cast("Obj", value) if isinstance(value, dict) else {}
        if "replace" in node.merge_strategies and PATCH not in patch:
            return _plain(cast("Obj", patch))
        return _merge_object(base, cast("Obj", patch), node)
    if isinstance(patch, list):
        merged = _merge_list(cast("list[Any]", value or []), cast("list[Any]", patch), node)
        return _ordered(merged, order, node) if order else merged
    return patch


def _merge_list(value: list[Any], patch: list[Any], node: Node) -> list[Any]:
    if "merge" not in node.merge_strategies:
        return [_plain(cast("Obj", item)) if isinstance(item, dict) else item for item in patch]
    if not node.merge_key:
        return [*value, *(item for item in patch if item not in value)]
    key = node.merge_key
    result: list[Obj] = list(value)
    for raw in patch:
        if not isinstance(raw, dict):
            raise BadRequest(f"strategic merge patch: elements of a list merged by {key} must be objects")
        item = cast("Obj", raw)
        action = _action(item)
        if action == "replace" and key not in item:
            return [_plain(cast("Obj", other)) for other in patch if PATCH not in other]
        if key not in item:
            raise BadRequest(f"strategic merge patch: an element does not contain declared merge key: {key}")
        found = [index for index, each in enumerate(result) if each.get(key) == item[key]]
        if action == "delete":
            result = [each for each in result if each.get(key) != item[key]]
        elif found:
            result[found[0]] = _merge_object(result[found[0]], item, node.items)
        else:
            result.append(_merge_object({}, item, node.items))
    return result


def _ordered(value: list[Any], order: list[Any], node: Node) -> list[Any]:
    """Elements that ``order`` names in its order; the others stay where they are relative to their left neighbour."""
    key = node.merge_key

    def identity(item: Any) -> Any:
        return cast("Obj", item).get(key) if key and isinstance(item, dict) else item

    places = {str(identity(item)): index for index, item in enumerate(order)}
    ranked: list[tuple[int, int, Any]] = []
    last = -1
    for index, item in enumerate(value):
        last = places.get(str(identity(item)), last)
        ranked.append((last, index, item))
    return [item for _, _, item in sorted(ranked, key=lambda each: each[:2])]
