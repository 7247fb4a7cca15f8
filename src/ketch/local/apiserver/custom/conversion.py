"""Objects kept in one version, served in another.

Most kinds have the same fields in all versions, so that converting rewrites ``apiVersion``. Events are spelt
differently by the core group and events.k8s.io, autoscaling/v1 has a module of its own. Where a webhook converts, which
takes time, ``as_served`` and ``as_stored`` leave objects alone: they are converted where they are read from the store
and written to it, and in between are of the version that was asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ketch.local.apiserver.custom import autoscaling
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Record

EVENTS_GROUP = "events.k8s.io"
_CORE_TO_EVENTS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENTS_TO_CORE = {new: old for old, new in _CORE_TO_EVENTS.items()}


def as_served(resource: ServedResource, value: dict[str, Any]) -> dict[str, Any]:
    """A stored object in the version of ``resource``."""
    if value.get("apiVersion") == resource.api_version or resource.converter is not None:
        return value
    if resource.api_version == autoscaling.V1:
        return autoscaling.as_v1(value)
    if resource.group == EVENTS_GROUP:
        value = {_CORE_TO_EVENTS.get(name, name): field for name, field in value.items()}
    return {**value, "apiVersion": resource.api_version}


def as_stored(resource: ServedResource, value: Mapping[str, Any]) -> dict[str, Any]:
    """An object of ``resource``'s version as it is kept."""
    if resource.api_version == resource.stored_api_version or resource.converter is not None:
        return dict(value)
    if resource.api_version == autoscaling.V1:
        return autoscaling.as_v2(value)
    if resource.group == EVENTS_GROUP:
        value = {_EVENTS_TO_CORE.get(name, name): field for name, field in value.items()}
    return {**value, "apiVersion": resource.stored_api_version}


async def served(resource: ServedResource, records: Sequence[Record]) -> list[Record]:
    """Stored objects in the version of ``resource``, by its converter. Raises APIError."""
    if resource.converter is None:
        return list(records)
    values = await resource.converter.converted([record.value for record in records], resource.api_version)
    return [
        record
        if value.get("apiVersion") == record.value.get("apiVersion")
        else Record(record.key, dict(value), record.revision)
        for record, value in zip(records, values, strict=True)
    ]


async def stored(resource: ServedResource, value: Mapping[str, Any]) -> dict[str, Any]:
    """An object of ``resource``'s version as it is kept, by its converter. Raises APIError."""
    if resource.converter is None:
        return dict(value)
    (made,) = await resource.converter.converted([value], resource.stored_api_version)
    return {**made, "metadata": dict(made["metadata"])}
