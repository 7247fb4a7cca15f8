"""Pods as rows: the STATUS column says more than the phase."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ketch.kube.codec import parse_time
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.tables.columns import AGE, NAME, NONE, Column, Obj, at, duration, field

NODE_LOST = "NodeLost"


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always"


def _ended(state: Mapping[str, Any]) -> str:
    terminated = state["terminated"]
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _initializing(pod: Obj) -> str | None:
    """What an init container that is not done says; None when all are."""
    containers = {each["name"]: each for each in at(pod, "spec", "initContainers", default=NO_ITEMS)}
    for index, status in enumerate(at(pod, "status", "initContainerStatuses", default=NO_ITEMS)):
        state = status.get("state") or NOTHING
        terminated = state.get("terminated")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if _is_sidecar(containers.get(status["name"], {})) and status.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_ended(state)}"
        waiting = at(state, "waiting", "reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{len(containers)}"
    return None


def _main_reason(pod: Obj, reason: str) -> str:
    """The reason of the first container that has one to tell."""
    running = False
    for status in reversed(at(pod, "status", "containerStatuses", default=NO_ITEMS)):
        state = status.get("state") or NOTHING
        if waiting := at(state, "waiting", "reason"):
            reason = str(waiting)
        elif "terminated" in state:
            reason = _ended(state)
        elif status.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        conditions: Sequence[Mapping[str, Any]] = at(pod, "status", "conditions", default=NO_ITEMS)
        ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
        return "Running" if ready else "NotReady"
    return reason


def status(pod: Obj, now: datetime) -> str:  # cells take a time
    """The STATUS column."""
    reason = str(at(pod, "status", "reason") or at(pod, "status", "phase"))
    for condition in at(pod, "status", "conditions", default=NO_ITEMS):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    initializing = _initializing(pod)
    reason = initializing if initializing is not None else _main_reason(pod, reason)
    if "deletionTimestamp" in pod["metadata"]:
        if at(pod, "status", "reason") == NODE_LOST:
            return "Unknown"
        if at(pod, "status", "phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return reason


def _counted(pod: Obj) -> list[Mapping[str, Any]]:
    """Statuses of the containers that count for readiness: the main ones and sidecars."""
    sidecars = {each["name"] for each in at(pod, "spec", "initContainers", default=NO_ITEMS) if _is_sidecar(each)}
    inits = [each for each in at(pod, "status", "initContainerStatuses", default=NO_ITEMS) if each["name"] in sidecars]
    return [*inits, *at(pod, "status", "containerStatuses", default=NO_ITEMS)]


def ready(pod: Obj, now: datetime) -> str:  # cells take a time
    """The READY column."""
    sidecars = sum(map(_is_sidecar, at(pod, "spec", "initContainers", default=NO_ITEMS)))
    total = len(at(pod, "spec", "containers", default=NO_ITEMS)) + sidecars
    count = sum(bool(each.get("ready") and "running" in (each.get("state") or NOTHING)) for each in _counted(pod))
    return f"{count}/{total}"


def restarts(pod: Obj, now: datetime) -> str:
    """The RESTARTS column: how often, and when last."""
    statuses = _counted(pod)
    if _initializing(pod) is not None:
        statuses = at(pod, "status", "initContainerStatuses", default=NO_ITEMS)
    count = sum(each.get("restartCount", 0) for each in statuses)
    ends: list[str] = [at(each, "lastState", "terminated", "finishedAt") for each in statuses]
    last = max(filter(None, ends), default="")
    if not count or not last:
        return str(count)
    return f"{count} ({duration((now - parse_time(last)).total_seconds())} ago)"


def _gates(pod: Obj, now: datetime) -> str:  # cells take a time
    gates = at(pod, "spec", "readinessGates", default=NO_ITEMS)
    if not gates:
        return NONE
    true = {item["type"] for item in at(pod, "status", "conditions", default=NO_ITEMS) if item.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"


COLUMNS = (
    NAME,
    Column("Ready", ready),
    Column("Status", status),
    Column("Restarts", restarts),
    AGE,
    Column("IP", field("status", "podIP", default=NONE), priority=1),
    Column("Node", field("spec", "nodeName", default=NONE), priority=1),
    Column("Nominated Node", field("status", "nominatedNodeName", default=NONE), priority=1),
    Column("Readiness Gates", _gates, priority=1),
)
