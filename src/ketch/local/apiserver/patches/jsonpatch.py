"""JSON patch, RFC 6902 over RFC 6901 pointers."""

from collections.abc import Mapping
from typing import Any, cast

from ketch.kube.errors import BadRequest, Invalid
from ketch.local.apiserver.copying import fresh

OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
MOST_OPERATIONS = 10_000


def _steps(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise BadRequest(f"json patch: {pointer!r} is no JSON pointer")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _index(items: list[Any], step: str, pointer: str, *, end: bool) -> int:
    if step == "-" and end:
        return len(items)
    if not step.isdigit() or (step != "0" and step.startswith("0")):
        raise Invalid(f"json patch: {pointer}: {step!r} is no index")
    index = int(step)
    if index > len(items) - (0 if end else 1):
        raise Invalid(f"json patch: {pointer}: index {index} is out of range")
    return index


def _parent(root: Any, steps: list[str], pointer: str) -> Any:
    value = root
    for step in steps[:-1]:
        value = _read(value, step, pointer)
    if not isinstance(value, dict | list):
        raise Invalid(f"json patch: {pointer}: its parent is neither object nor list")
    return cast("Any", value)


def _read(value: Any, step: str, pointer: str) -> Any:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return items[_index(items, step, pointer, end=False)]
    if not isinstance(value, dict) or step not in value:
        raise Invalid(f"json patch: {pointer}: no such path")
    return cast("dict[str, Any]", value)[step]


def _add(root: Any, pointer: str, item: Any) -> Any:
    steps = _steps(pointer)
    if not steps:
        return item
    parent = _parent(root, steps, pointer)
    if isinstance(parent, list):
        items = cast("list[Any]", parent)
        items.insert(_index(items, steps[-1], pointer, end=True), item)
    else:
        parent[steps[-1]] = item
    return root


def _remove(root: Any, pointer: str) -> Any:
    steps = _steps(pointer)
    if not steps:
        raise Invalid("json patch: the whole object cannot be removed")
    parent = _parent(root, steps, pointer)
    removed = _read(parent, steps[-1], pointer)
    if isinstance(parent, list):
        items = cast("list[Any]", parent)
        del items[_index(items, steps[-1], pointer, end=False)]
    else:
        del parent[steps[-1]]
    return removed


def _get(root: Any, pointer: str) -> Any:
    value = root
    for step in _steps(pointer):
        value = _read(value, step, pointer)
    return value


def _apply(root: Any, operation: Mapping[str, Any]) -> Any:
    name, pointer = operation.get("op"), operation.get("path")
    if name not in OPERATIONS:
        raise BadRequest(f"json patch: unknown operation {name!r}: use one of {', '.join(OPERATIONS)}")
    if not isinstance(pointer, str):
        raise BadRequest(f"json patch: operation {name} needs a path")
    if name in ("add", "replace", "test") and "value" not in operation:
        raise BadRequest(f"json patch: operation {name} on {pointer} needs a value")
    match name:
        case "add":
            return _add(root, pointer, operation["value"])
        case "remove":
            _remove(root, pointer)
        case "replace":
            if not _steps(pointer):
                return operation["value"]
            _remove(root, pointer)
            return _add(root, pointer, operation["value"])
        case "test":
            if _get(root, pointer) != operation["value"]:
                raise Invalid(f"json patch: testing value {pointer} failed")
        case _:
            source = operation.get("from", "")
            if name == "move" and f"{pointer}/".startswith(f"{source}/") and pointer != source:
                raise Invalid(f"json patch: {source} cannot move into itself")
            item = _remove(root, source) if name == "move" else fresh(_get(root, source))
            return _add(root, pointer, item)
    return root


def json_patch(obj: Mapping[str, Any], patch: Any) -> dict[str, Any]:
    """``obj`` after all operations. Raises BadRequest for what is no patch, Invalid for what cannot be done."""
    if not isinstance(patch, list):
        raise BadRequest("a JSON patch must be a list of operations")
    operations = cast("list[Any]", patch)
    if len(operations) > MOST_OPERATIONS:
        raise BadRequest(f"json patch: {len(operations)} operations are more than the {MOST_OPERATIONS} allowed")
    root: Any = fresh(obj)
    for operation in operations:
        if not isinstance(operation, dict):
            raise BadRequest("json patch: each operation must be an object")
        root = _apply(root, cast("dict[str, Any]", fresh(operation)))
    if not isinstance(root, dict):
        raise Invalid("json patch: the result must be an object")
    return cast("dict[str, Any]", root)
