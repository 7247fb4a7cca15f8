"""autoscaling/v1 of what is kept as autoscaling/v2: the CPU target is a field, the rest stands in annotations. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING

V1, V2 = "autoscaling/v1", "autoscaling/v2"
PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, CURRENT, CONDITIONS, BEHAVIOR = (
    f"{PREFIX}{name}" for name in ("metrics", "current-metrics", "conditions", "behavior")
)
Obj = dict[str, Any]
KINDS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _is_cpu(metric: Mapping[str, Any]) -> bool:
    resource = metric.get("resource") or NOTHING
    return metric.get("type") == "Resource" and resource.get("name") == "cpu"


def _old_metric(metric: Mapping[str, Any], place: str) -> Obj:
    """A metric as v1 spells it in annotations; ``place`` is where its values are: target or current."""
    kind = str(metric.get("type", ""))
    source: Mapping[str, Any] = metric.get(KINDS.get(kind, "")) or NOTHING
    values, named = source.get(place) or NOTHING, source.get("metric") or NOTHING
    told = {name: values[key] for key, name in _value_names(kind, place) if key in values}
    made: Obj = {name: source[name] for name in ("name", "container") if name in source} | told
    if named:
        made["metricName"] = named.get("name", "")
        if "selector" in named:
            made["metricSelector" if kind == "External" else "selector"] = named["selector"]
    if "describedObject" in source:
        made["target"] = source["describedObject"]
    return {"type": kind, KINDS.get(kind, "unknown"): made}


def _value_names(kind: str, place: str) -> Sequence[tuple[str, str]]:
    """How v2's values of a metric are called in v1."""
    if place == "current":
        average = "averageValue" if kind == "Object" else "currentAverageValue"
        return (
            ("averageUtilization", "currentAverageUtilization"),
            ("averageValue", average),
            ("value", "currentValue"),
        )
    average = "averageValue" if kind == "Object" else "targetAverageValue"
    return (("averageUtilization", "targetAverageUtilization"), ("averageValue", average), ("value", "targetValue"))


def _new_metric(metric: Mapping[str, Any], place: str) -> Obj:
    kind = str(metric.get("type", ""))
    source: Mapping[str, Any] = metric.get(KINDS.get(kind, "")) or NOTHING
    values = {key: source[name] for key, name in _value_names(kind, place) if name in source}
    if place == "target":
        told = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}
        values["type"] = next((word for key, word in told.items() if key in values), "Value")
    made: Obj = {name: source[name] for name in ("name", "container") if name in source} | {place: values}
    if "metricName" in source:
        selector = source.get("metricSelector") or source.get("selector")
        made["metric"] = {"name": source["metricName"], **({"selector": selector} if selector else {})}
    if "target" in source and kind == "Object":
        made["describedObject"] = source["target"]
    return {"type": kind, KINDS.get(kind, "unknown"): made}


def _current(items: Any) -> list[Obj]:
    return [_new_metric(each, "current") for each in items]


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _from_text(text: str, read: Callable[[Any], Any]) -> Any:
    """What an annotation holds; nothing where somebody wrote nonsense there."""
    try:
        return read(orjson.loads(text))
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return None


def as_v1(value: Mapping[str, Any]) -> Obj:
    """A v2 object as v1 shows it."""
    spec, status = dict(value.get("spec") or NOTHING), dict(value.get("status") or NOTHING)
    notes: dict[str, str] = {}
    others: list[Mapping[str, Any]] = []
    for metric in spec.pop("metrics", NO_ITEMS):
        target = (metric.get("resource") or NOTHING).get("target") or NOTHING
        if _is_cpu(metric) and "averageUtilization" in target and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            others.append(_old_metric(metric, "target"))
    current: list[Mapping[str, Any]] = list(status.pop("currentMetrics", None) or NO_ITEMS)
    for metric in current:
        used = ((metric.get("resource") or NOTHING).get("current") or NOTHING).get("averageUtilization")
        if _is_cpu(metric) and used is not None:
            status["currentCPUUtilizationPercentage"] = used
    for name, content in (
        (METRICS, others),
        (CURRENT, [_old_metric(each, "current") for each in current]),
        (CONDITIONS, status.pop("conditions", None)),
        (BEHAVIOR, spec.pop("behavior", None)),
    ):
        if content:
            notes[name] = _text(content)
    meta = dict(value.get("metadata") or NOTHING)
    if notes:
        meta["annotations"] = {**(meta.get("annotations") or NOTHING), **notes}
    made = {**value, "apiVersion": V1, "metadata": meta, "spec": spec}
    if "status" in value:
        made["status"] = status
    return made


def as_v2(value: Mapping[str, Any]) -> Obj:
    """A v1 object as it is kept."""
    meta = dict(value.get("metadata") or NOTHING)
    spec, status = dict(value.get("spec") or NOTHING), dict(value.get("status") or NOTHING)
    notes = dict(meta.get("annotations") or NOTHING)
    metrics: list[Obj] = []
    cpu = spec.pop("targetCPUUtilizationPercentage", None)
    if cpu is not None:
        target = {"type": "Utilization", "averageUtilization": cpu}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    status.pop("currentCPUUtilizationPercentage", None)
    if METRICS in notes:
        metrics += _from_text(notes.pop(METRICS), lambda items: [_new_metric(each, "target") for each in items]) or ()
    if metrics:
        spec["metrics"] = metrics
    kept: Sequence[tuple[str, Obj, str, Callable[[Any], Any]]] = (
        (CURRENT, status, "currentMetrics", _current),
        (CONDITIONS, status, "conditions", list),
        (BEHAVIOR, spec, "behavior", dict),
    )
    for name, place, field, read in kept:
        if name in notes and (found := _from_text(notes.pop(name), read)):
            place[field] = found
    if notes:
        meta["annotations"] = notes
    else:
        meta.pop("annotations", None)
    made = {**value, "apiVersion": V2, "metadata": meta, "spec": spec}
    if "status" in value:
        made["status"] = status
    return made
