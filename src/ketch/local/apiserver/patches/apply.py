"""Server-side apply: an applier states what it wants, the server merges it with what others own."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ketch.kube.errors import BadRequest, Cause, Conflict, StatusDetails
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.patches.fields import (
    NOT_OWNED,
    Fields,
    changed,
    difference,
    element_key,
    field_set,
    granular,
    intersection,
    misfits,
    paths,
    union,
)
from ketch.local.apiserver.patches.ownership import Entry, Manager, entries, owned, with_entry
from ketch.local.apiserver.schemas import Schema
from ketch.local.apiserver.schemas.nodes import ANYTHING, Node

CLIENT_SIDE_APPLY = "kubectl-client-side-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def merged(node: Node, live: Any, applied: Any) -> Any:
    """``applied`` laid over ``live``: parts with owners of their own merge, all else is replaced."""
    if type(live) is not type(applied) or not granular(node, applied) or not granular(node, live):
        return applied
    if isinstance(applied, dict):
        result = dict(live)
        for name, item in cast("dict[str, Any]", applied).items():
            result[name] = merged(node.child(name) or ANYTHING, live[name], item) if name in live else item
        return result
    wanted = {element_key(node, item): item for item in cast("list[Any]", applied)}
    existing = {element_key(node, item): item for item in live}
    return [
        merged(node.items, existing[key], wanted[key])
        if key in existing and key in wanted
        else wanted.get(key, existing.get(key))
        for key in _interleaved(existing, wanted)
    ]


def _interleaved(there: Mapping[str, Any], applied: Mapping[str, Any]) -> Iterator[str]:
    """The elements of both lists: those that are applied in the applier's order, the others where they were.

    As structured-merge-diff does it, so that an element of somebody else's stays behind the same neighbour.
    """
    existing, wanted = list(there), list(applied)
    shared = iter([key for key in wanted if key in there])
    following = next(shared, None)
    left = right = 0
    while left < len(existing) or right < len(wanted):
        one = existing[left] if left < len(existing) else None
        other = wanted[right] if right < len(wanted) else None
        if one is not None and one == other:
            yield one
            left, right, following = left + 1, right + 1, next(shared, None)
        elif one is not None and one not in applied:
            yield one
            left += 1
        elif one is not None and other is not None and following != one:
            left += 1  # it comes later, or came already
        elif other is not None:
            yield other
            right += 1
            if following == other:
                following = next(shared, None)
        else:
            left += 1


def without(node: Node, value: Any, gone: Fields) -> Any:
    """``value`` without the fields ``gone``; what becomes empty by that goes too."""
    if isinstance(value, dict):
        result = dict(cast("dict[str, Any]", value))
        for key, below in gone.items():
            name = key[2:]
            if key == "." or name not in result:
                continue
            child = node.child(name) or ANYTHING
            if not below or not granular(child, result[name]):
                del result[name]
                continue
            rest = without(child, result[name], below)
            if rest or not result[name]:
                result[name] = rest
            else:
                del result[name]
        return result
    items: list[Any] = []
    for item in cast("list[Any]", value):
        below = gone.get(element_key(node, item))
        if below is None:
            items.append(item)
        elif "." not in below and below:
            items.append(without(node.items, item, below))
    return items


def _conflict(found: list[tuple[Entry, Fields]]) -> Conflict:
    causes: list[Cause] = []
    groups: list[str] = []
    for entry, fields in found:
        who = f'conflict with "{entry.get("manager")}"'
        if entry.get("subresource"):
            who += f' with subresource "{entry["subresource"]}"'
        if entry.get("operation") == "Update":
            who += f" using {entry.get('apiVersion')}"
        listed = list(paths(fields))
        causes += [Cause("FieldManagerConflict", who, path) for path in listed]
        many = who.replace("conflict with", "conflicts with", 1) + ":\n- " + "\n- ".join(listed)
        groups.append(many if len(listed) > 1 else f"{who}: {listed[0]}")
    count = f"{len(causes)} conflict{'s' if len(causes) != 1 else ''}"
    return Conflict(f"Apply failed with {count}: {'; '.join(groups)}", StatusDetails(causes=tuple(causes)))


def _takes_over(manager: Manager, live: Mapping[str, Any]) -> bool:
    """Whether kubectl changes from client-side to server-side apply, or has; what it owned before is no conflict."""
    return manager.name == "kubectl" and LAST_APPLIED in (live["metadata"].get("annotations") or NOTHING)


def _with_last_applied(obj: dict[str, Any], applied: Mapping[str, Any]) -> dict[str, Any]:
    """``obj`` with the annotation that client-side apply goes by kept up to date."""
    meta = {**applied["metadata"]}
    meta["annotations"] = {
        name: item for name, item in meta.get("annotations", NOTHING).items() if name != LAST_APPLIED
    }
    text = orjson.dumps({**applied, "metadata": meta}, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    annotations = {**obj["metadata"].get("annotations", NOTHING), LAST_APPLIED: text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def apply(
    live: Mapping[str, Any] | None, applied: Mapping[str, Any], schema: Schema, manager: Manager, *, force: bool
) -> dict[str, Any]:
    """The object after ``manager`` applied ``applied``.

    Fields that the manager applied before and does not now go away unless another owns them. An apply that changes
    nothing returns an object equal to ``live``. Raises Conflict, naming owners and fields, unless ``force``; BadRequest
    for elements that cannot be told apart.
    """
    node = schema.node
    if wrong := list(misfits(node, applied)):
        raise BadRequest(f"failed to create typed patch object: {'; '.join(wrong)}")
    mine = difference(field_set(node, applied), NOT_OWNED)
    if live is None:
        return with_entry(dict(applied), (), manager.entry(mine))
    everyone = entries(live)
    previous = next((entry for entry in everyone if manager.wrote(entry)), None)
    others = [entry for entry in everyone if entry is not previous]
    before = owned(previous) if previous else {}
    takes_over = _takes_over(manager, live)
    base = dict(live)
    result = merged(node, base, _without_identity(applied))
    theirs: Fields = {}
    for entry in others:
        theirs = union(theirs, owned(entry))
    gone = difference(difference(before, mine), theirs)
    if gone:
        result = without(node, result, gone)
    touched = difference(changed(node, base, result)[0], NOT_OWNED)
    disputed = [(entry, common) for entry in others if (common := intersection(touched, owned(entry)))]
    serious = [
        (entry, fields) for entry, fields in disputed if not (takes_over and entry.get("manager") == CLIENT_SIDE_APPLY)
    ]
    if serious and not force:
        raise _conflict(serious)
    if takes_over:
        result = _with_last_applied(result, applied)
    kept: list[Entry] = []
    for entry in others:
        rest = difference(owned(entry), touched) if disputed else owned(entry)
        if rest:
            kept.append(entry if rest == owned(entry) else {**entry, "fieldsV1": rest})
    unchanged = previous is not None and owned(previous) == mine and result == base
    time = previous["time"] if previous is not None and unchanged else None
    return with_entry(result, kept, manager.entry(mine, time))


def _without_identity(applied: Mapping[str, Any]) -> dict[str, Any]:
    """What is applied, less the identity that only locates the object."""
    result = dict(applied)
    meta = {**result.get("metadata", NOTHING)}
    for name in ("resourceVersion", "uid", "managedFields", "creationTimestamp"):
        meta.pop(name, None)
    result["metadata"] = meta
    return result
