"""metadata.managedFields: who owns which field, kept with every write."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.patches.fields import NOT_OWNED, Fields, changed, difference, field_set, union
from ketch.local.apiserver.schemas import Schema

Entry = Mapping[str, Any]


class Manager(NamedTuple):
    """Who writes: ``operation`` is Apply or Update, ``time`` RFC 3339."""

    name: str
    operation: str
    api_version: str
    time: str
    subresource: str = ""

    def wrote(self, entry: Entry) -> bool:
        """Whether an entry is this manager's."""
        return (
            entry.get("manager") == self.name
            and entry.get("operation") == self.operation
            and entry.get("subresource", "") == self.subresource
            and (self.operation == "Apply" or entry.get("apiVersion") == self.api_version)
        )

    def entry(self, fields: Fields, time: str | None = None) -> dict[str, Any]:
        """The managedFields entry."""
        result: dict[str, Any] = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": time or self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        if self.subresource:
            result["subresource"] = self.subresource
        return result


def owned(entry: Entry) -> Fields:
    """The fields of an entry."""
    return dict(entry.get("fieldsV1") or NOTHING)


def entries(obj: Mapping[str, Any] | None) -> Sequence[Entry]:
    """An object's managedFields."""
    return (obj or {}).get("metadata", NOTHING).get("managedFields") or NO_ITEMS


def same_ownership(new: Sequence[Entry] | None, old: Sequence[Entry] | None) -> bool:
    """Whether two managedFields say the same, whenever it was written."""
    new, old = new or (), old or ()
    if new is old:
        return True
    return len(new) == len(old) and all(
        {**one, "time": ""} == {**other, "time": ""} for one, other in zip(new, old, strict=True)
    )


def _valid(told: Sequence[Any]) -> bool:
    """Whether managedFields from a caller can be taken as they are."""
    return all(isinstance(item, dict) and isinstance(cast("Entry", item).get("fieldsV1", {}), dict) for item in told)


def _ordered(found: Sequence[dict[str, Any] | Entry]) -> list[Entry]:
    return sorted(
        found, key=lambda item: (item.get("operation") != "Apply", item.get("time", ""), item.get("manager", ""))
    )


def take_ownership(
    old: Mapping[str, Any] | None, new: dict[str, Any], schema: Schema, manager: Manager
) -> dict[str, Any]:
    """``new`` with managedFields: the manager owns what it changed, others lose what was changed or removed.

    A caller may rewrite managedFields: ``[]`` resets them. Cost: one walk over what differs.
    """
    told = new["metadata"].get("managedFields")
    before = entries(old) if told is None or old is None or not _valid(told) else told
    if old is None:
        mine, gone = difference(field_set(schema.node, new), NOT_OWNED), Fields()
    else:
        mine, gone = changed(schema.node, old, new)
        mine, gone = difference(mine, NOT_OWNED), difference(gone, NOT_OWNED)
    meta = new["metadata"] = dict(new["metadata"])
    if not mine and not gone:
        meta["managedFields"] = list(before)
        if not before:
            del meta["managedFields"]
        return new
    lost = union(mine, gone)
    result: list[Entry] = []
    own: Fields = {}
    for entry in before:
        if manager.wrote(entry):
            own = difference(owned(entry), gone)
            continue
        rest = difference(owned(entry), lost)
        if rest == owned(entry):
            result.append(entry)
        elif rest:
            result.append({**entry, "fieldsV1": rest})
    if fields := union(own, mine):
        result.append(manager.entry(fields))
    meta["managedFields"] = _ordered(result)
    return new


def with_entry(obj: dict[str, Any], others: Sequence[Entry], mine: dict[str, Any] | None) -> dict[str, Any]:
    """``obj`` with these managedFields."""
    meta = {**obj["metadata"]}
    found = _ordered([*others, *([mine] if mine else [])])
    if found:
        meta["managedFields"] = found
    else:
        meta.pop("managedFields", None)
    return {**obj, "metadata": meta}
