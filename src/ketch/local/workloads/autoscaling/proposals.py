"""How many pods a metric asks for. Pure.

A pod that has just begun says nothing yet: it counts as idle where more are asked for, and one whose use nobody knows
as busy where fewer are; so neither makes the workload jump.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from ketch.kube.conditions import find
from ketch.kube.quantities import format_quantity, parse_quantity
from ketch.kube.types.pods import Pod
from ketch.local.workloads.pods import FAILED, PENDING, is_deleting

CPU = "cpu"
WARM_UP = timedelta(minutes=5)
"""For so long after its start a pod's use of cpu may be that of its beginning."""
FIRST_READY = timedelta(seconds=30)
"""A pod that has not been ready for longer than this after its start never was."""
TOLERANCE = Fraction(1, 10)
"""A use that is off by no more than this share is right."""
RESOURCE, CONTAINER = "Resource", "ContainerResource"

Use = Mapping[str, Mapping[str, str]]
"""What a pod's containers use: by container, by resource."""


class Measured(NamedTuple):
    """A pod's use, measured over ``window`` until ``moment``."""

    moment: datetime
    window: timedelta
    containers: Use


class MetricError(ValueError):
    """The metric cannot be had. ``reason`` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Proposal(NamedTuple):
    """What one metric asks for: a size, the metric as it is, and its name for people."""

    replicas: int
    current: Mapping[str, Any]
    name: str


@dataclass(frozen=True)
class _Wanted:
    """A metric of the spec, read."""

    resource: str
    container: str
    utilization: int | None
    average: Fraction | None


def _read(metric: Mapping[str, Any]) -> _Wanted:
    kind = str(metric.get("type", ""))
    if kind not in (RESOURCE, CONTAINER):
        text = f"there is no API for {kind} metrics: use a metric of type Resource or ContainerResource"
        raise MetricError(f"FailedGet{kind}Metric", text)
    source: Mapping[str, Any] = metric.get("resource" if kind == RESOURCE else "containerResource") or {}
    target: Mapping[str, Any] = source.get("target") or {}
    average = target.get("averageValue")
    share = target.get("averageUtilization")
    if share is None and average is None:
        text = "invalid resource metric source: neither a utilization target nor a value target was set"
        raise MetricError(_reason(kind), text)
    return _Wanted(
        str(source.get("name", "")),
        str(source.get("container", "")) if kind == CONTAINER else "",
        share,
        None if average is None else parse_quantity(average),
    )


def _reason(kind: str) -> str:
    return f"FailedGet{'Resource' if kind == RESOURCE else 'ContainerResource'}Metric"


def _use(wanted: _Wanted, measured: Measured) -> Fraction | None:
    """The pod's use of the resource; None when a container's is not known."""
    names = [wanted.container] if wanted.container else list(measured.containers)
    total = Fraction(0)
    for name in names:
        text = measured.containers.get(name, {}).get(wanted.resource)
        if text is None:
            return None
        total += parse_quantity(text)
    return total if names else None


def _request(wanted: _Wanted, pod: Pod) -> Fraction:
    """What the pod asks for. Raises MetricError where a container asks for nothing: there is no share of that."""
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    total = Fraction(0)
    for container in (*pod.spec.containers, *sidecars):
        if wanted.container not in ("", container.name):
            continue
        text = container.resources.requests.get(wanted.resource)
        if text is None:
            text = f"missing request for {wanted.resource} in container {container.name} of Pod {pod.metadata.name}"
            raise MetricError(_reason(CONTAINER if wanted.container else RESOURCE), text)
        total += parse_quantity(text)
    return total


def _is_warming_up(pod: Pod, measured: Measured, now: datetime) -> bool:
    """Whether what a pod uses of cpu is that of its beginning."""
    ready, start = find(pod.status.conditions, "Ready"), pod.status.start_time or pod.metadata.creation_timestamp
    if ready is None or start is None:
        return True
    since = ready.last_transition_time or start
    if start + WARM_UP > now:
        return ready.status != "True" or measured.moment < since + measured.window
    return ready.status != "True" and start + FIRST_READY > since


@dataclass(frozen=True)
class _Sorted:
    """Pods by what is known of them; requests of all that count."""

    uses: Mapping[str, Fraction]
    unready: Sequence[str]
    missing: Sequence[str]
    pods: Mapping[str, Pod]


def _sort(wanted: _Wanted, pods: Iterable[Pod], use: Mapping[str, Measured], now: datetime) -> _Sorted:
    uses: dict[str, Fraction] = {}
    unready: list[str] = []
    missing: list[str] = []
    known: dict[str, Pod] = {}
    for pod in pods:
        if is_deleting(pod) or pod.status.phase == FAILED:
            continue
        name = pod.metadata.name
        known[name] = pod
        measured = use.get(name)
        amount = None if measured is None else _use(wanted, measured)
        if pod.status.phase == PENDING:
            unready.append(name)
        elif measured is None or amount is None:
            missing.append(name)
        elif wanted.resource == CPU and _is_warming_up(pod, measured, now):
            unready.append(name)
        else:
            uses[name] = amount
    return _Sorted(uses, unready, missing, known)


def propose(
    metric: Mapping[str, Any], current: int, pods: Iterable[Pod], use: Mapping[str, Measured], now: datetime
) -> Proposal:
    """The size that a metric asks for. Raises MetricError."""
    wanted = _read(metric)
    found = _sort(wanted, pods, use, now)
    kind = CONTAINER if wanted.container else RESOURCE
    if not found.pods:
        raise MetricError(_reason(kind), "no pods returned by selector while calculating replica count")
    if not found.uses:
        raise MetricError(_reason(kind), "did not receive metrics for targeted pods (pods might be unready)")
    per_pod = {name: _per_pod(wanted, pod) for name, pod in found.pods.items()}
    used = sum(found.uses.values(), Fraction(0))
    ratio = used / max(sum((per_pod[name] for name in found.uses), Fraction(0)), Fraction(1, 10**9))
    return Proposal(_size(current, ratio, found, per_pod, wanted), _current(wanted, found), _name(wanted))


def _per_pod(wanted: _Wanted, pod: Pod) -> Fraction:
    """What a pod uses when it is as busy as it should be."""
    if wanted.utilization is not None:
        return _request(wanted, pod) * wanted.utilization / 100
    assert wanted.average is not None
    return wanted.average


def _size(current: int, ratio: Fraction, found: _Sorted, per_pod: Mapping[str, Fraction], wanted: _Wanted) -> int:
    counts_unready = bool(found.unready) and ratio > 1
    if not counts_unready and not found.missing:
        return current if abs(1 - ratio) <= TOLERANCE else ceil(ratio * len(found.uses))
    uses = dict(found.uses)
    for name in found.missing:
        if ratio < 1:  # it may be as busy as it asked to be
            full = per_pod[name] * 100 / wanted.utilization if wanted.utilization else per_pod[name]
            uses[name] = max(full, per_pod[name])
        elif ratio > 1:
            uses[name] = Fraction(0)
    if counts_unready:
        uses |= dict.fromkeys(found.unready, Fraction(0))
    total = sum((per_pod[name] for name in uses), Fraction(0))
    again = sum(uses.values(), Fraction(0)) / max(total, Fraction(1, 10**9))
    turned = (ratio < 1 < again) or (again < 1 < ratio)
    if abs(1 - again) <= TOLERANCE or turned:
        return current
    size = ceil(again * len(uses))
    against = (again < 1 and size > current) or (again > 1 and size < current)
    return current if against else size


def _name(wanted: _Wanted) -> str:
    what = f"{wanted.resource} container resource" if wanted.container else f"{wanted.resource} resource"
    return f"{what} utilization (percentage of request)" if wanted.utilization is not None else what


def _current(wanted: _Wanted, found: _Sorted) -> Mapping[str, Any]:
    """The metric as it stands in the status."""
    used = sum(found.uses.values(), Fraction(0))
    average = used / len(found.uses)
    rounded = Fraction(ceil(average * 1000), 1000) if wanted.resource == CPU else Fraction(ceil(average))
    told: dict[str, Any] = {"averageValue": format_quantity(rounded)}
    if wanted.utilization is not None:
        asked = sum((_request(wanted, found.pods[name]) for name in found.uses), Fraction(0))
        told["averageUtilization"] = int(used * 100 / asked) if asked else 0
    if wanted.container:
        source = {"name": wanted.resource, "container": wanted.container, "current": told}
        return {"type": CONTAINER, "containerResource": source}
    return {"type": RESOURCE, "resource": {"name": wanted.resource, "current": told}}
