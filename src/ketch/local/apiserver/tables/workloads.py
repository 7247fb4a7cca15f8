"""Deployments, ReplicaSets, Jobs and their like as rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ketch.kube.codec import decode, parse_time
from ketch.kube.meta import LabelSelector
from ketch.kube.selectors import from_label_selector
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.tables.columns import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Column,
    Obj,
    at,
    duration,
    field,
    joined,
    since,
)

Columns = Sequence[Column]


def _containers(*path: str) -> Columns:
    def cell(key: str) -> Any:
        def show(obj: Obj, now: datetime) -> str:  # cells take a time
            return joined((each.get(key, "") for each in at(obj, *path, "spec", "containers", default=NO_ITEMS)), "")

        return show

    return Column("Containers", cell("name"), priority=1), Column("Images", cell("image"), priority=1)


def _selector(obj: Obj, now: datetime) -> str:  # cells take a time
    raw = at(obj, "spec", "selector", default=None)
    if raw is None:
        return NONE
    if "matchLabels" not in raw and "matchExpressions" not in raw:
        return joined((f"{key}={value}" for key, value in sorted(raw.items())), NONE)
    return str(from_label_selector(decode(LabelSelector, raw))) or NONE


def _ratio(done: Sequence[str], wanted: Sequence[str]) -> Any:
    def cell(obj: Obj, now: datetime) -> str:  # cells take a time
        return f"{at(obj, *done, default=0)}/{at(obj, *wanted, default=0)}"

    return cell


def _count(title: str, *path: str) -> Column:
    return Column(title, field(*path, default=0), "integer")


_SELECTOR = Column("Selector", _selector, priority=1)
_TEMPLATE = _containers("spec", "template")

DEPLOYMENT: Columns = (
    NAME,
    Column("Ready", _ratio(("status", "readyReplicas"), ("spec", "replicas"))),
    _count("Up-to-date", "status", "updatedReplicas"),
    _count("Available", "status", "availableReplicas"),
    AGE,
    *_TEMPLATE,
    _SELECTOR,
)
REPLICA_SET: Columns = (
    NAME,
    _count("Desired", "spec", "replicas"),
    _count("Current", "status", "replicas"),
    _count("Ready", "status", "readyReplicas"),
    AGE,
    *_TEMPLATE,
    _SELECTOR,
)
STATEFUL_SET: Columns = (
    NAME,
    Column("Ready", _ratio(("status", "readyReplicas"), ("spec", "replicas"))),
    AGE,
    *_TEMPLATE,
)


def _node_selector(obj: Obj, now: datetime) -> str:  # cells take a time
    wanted = at(obj, "spec", "template", "spec", "nodeSelector", default=NOTHING)
    return joined((f"{key}={value}" for key, value in sorted(wanted.items())), NONE)


DAEMON_SET: Columns = (
    NAME,
    _count("Desired", "status", "desiredNumberScheduled"),
    _count("Current", "status", "currentNumberScheduled"),
    _count("Ready", "status", "numberReady"),
    _count("Up-to-date", "status", "updatedNumberScheduled"),
    _count("Available", "status", "numberAvailable"),
    Column("Node Selector", _node_selector),
    AGE,
    *_TEMPLATE,
    _SELECTOR,
)


def _job_status(obj: Obj, now: datetime) -> str:  # cells take a time
    conditions = {item.get("type"): item.get("status") for item in at(obj, "status", "conditions", default=NO_ITEMS)}
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if conditions.get(kind) == "True":
            return word
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    for kind, word in (("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")):
        if conditions.get(kind) == "True":
            return word
    return "SuccessCriteriaMet" if conditions.get("SuccessCriteriaMet") == "True" else "Running"


def _completions(obj: Obj, now: datetime) -> str:  # cells take a time
    succeeded, wanted = at(obj, "status", "succeeded", default=0), at(obj, "spec", "completions", default=None)
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallelism = at(obj, "spec", "parallelism", default=1)
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(obj: Obj, now: datetime) -> str:
    begun, ended = at(obj, "status", "startTime"), at(obj, "status", "completionTime")
    if not begun:
        return ""
    return duration((((parse_time(ended)) if ended else now) - parse_time(begun)).total_seconds())


JOB: Columns = (
    NAME,
    Column("Status", _job_status),
    Column("Completions", _completions),
    Column("Duration", _job_duration),
    AGE,
    *_TEMPLATE,
    _SELECTOR,
)


def _zone(obj: Obj, now: datetime) -> str:  # cells take a time
    return str(at(obj, "spec", "timeZone", default=NONE))


def _suspended(obj: Obj, now: datetime) -> str:  # cells take a time
    return str(bool(at(obj, "spec", "suspend", default=False)))


def _last_schedule(obj: Obj, now: datetime) -> str:
    text = at(obj, "status", "lastScheduleTime")
    return since(text, now) if text else NONE


def _active(obj: Obj, now: datetime) -> int:  # cells take a time
    return len(at(obj, "status", "active", default=NO_ITEMS))


CRON_JOB: Columns = (
    NAME,
    Column("Schedule", field("spec", "schedule")),
    Column("Timezone", _zone),
    Column("Suspend", _suspended, "boolean"),
    Column("Active", _active, "integer"),
    Column("Last Schedule", _last_schedule),
    AGE,
    *_containers("spec", "jobTemplate", "spec", "template"),
)


def _source(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = str(metric.get("type", ""))
    return at(metric, f"{kind[:1].lower()}{kind[1:]}", default=NOTHING)


def _metric(metric: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> str:
    """As it is / as it should be."""
    source = _source(metric)
    same = (source.get("name"), source.get("container"))
    others = (_source(each) for each in known if each.get("type") == metric.get("type"))
    current = next((each for each in others if (each.get("name"), each.get("container")) == same), NOTHING)
    now: Mapping[str, Any] = current.get("current") or NOTHING
    target: Mapping[str, Any] = source.get("target") or NOTHING
    name = "/".join(filter(None, (source.get("container"), source.get("name"))))
    if "averageUtilization" in target:
        share = now.get("averageUtilization")
        return f"{name}: {UNKNOWN if share is None else f'{share}%'}/{target['averageUtilization']}%"
    used = now.get("averageValue") or now.get("value") or UNKNOWN
    shown = f"{used}/{target.get('averageValue') or target.get('value', '')}"
    return f"{name}: {shown}" if name else shown


def _targets(obj: Obj, now: datetime) -> str:  # cells take a time
    known = at(obj, "status", "currentMetrics", default=NO_ITEMS)
    return ", ".join(_metric(each, known) for each in at(obj, "spec", "metrics", default=NO_ITEMS)) or NONE


def _reference(obj: Obj, now: datetime) -> str:  # cells take a time
    target = at(obj, "spec", "scaleTargetRef", default=NOTHING)
    return f"{target.get('kind', '')}/{target.get('name', '')}"


AUTOSCALER: Columns = (
    NAME,
    Column("Reference", _reference),
    Column("Targets", _targets),
    Column("MinPods", field("spec", "minReplicas", default=UNKNOWN)),
    _count("MaxPods", "spec", "maxReplicas"),
    _count("Replicas", "status", "currentReplicas"),
    AGE,
)
DISRUPTION_BUDGET: Columns = (
    NAME,
    Column("Min Available", field("spec", "minAvailable", default="N/A")),
    Column("Max Unavailable", field("spec", "maxUnavailable", default="N/A")),
    _count("Allowed Disruptions", "status", "disruptionsAllowed"),
    AGE,
)
