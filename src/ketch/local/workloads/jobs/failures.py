"""What a Job makes of a failed pod: its podFailurePolicy, and how long to wait before the next try. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ketch.kube.types.batch import Job
from ketch.kube.types.pods import Pod
from ketch.local.workloads.pods import FAILED, SUCCEEDED

FAIL_JOB, FAIL_INDEX, IGNORE, COUNT = "FailJob", "FailIndex", "Ignore", "Count"
FIRST_DELAY, LONGEST_DELAY = 10.0, 360.0
"""Seconds of back-off after the first failure, and at most; it doubles in between."""
_DOUBLINGS = 10


class Verdict(NamedTuple):
    """What to do about one failed pod; ``message`` explains FailJob."""

    action: str = COUNT
    message: str = ""


def judge(job: Job, pod: Pod) -> Verdict:
    """The first rule of the policy that matches decides; none counts the failure."""
    rules: Sequence[Mapping[str, Any]] = job.spec.pod_failure_policy.get("rules") or ()
    for number, rule in enumerate(rules):
        why = _exit_code_match(rule.get("onExitCodes"), pod) or _condition_match(rule.get("onPodConditions"), pod)
        if why:
            action = str(rule.get("action", COUNT))
            return Verdict(action, f"{why} matching {action} rule at index {number}")
    return Verdict()


def _exit_code_match(wanted: Mapping[str, Any] | None, pod: Pod) -> str:
    if not wanted:
        return ""
    values: Sequence[int] = wanted.get("values") or ()
    inside = wanted.get("operator") == "In"
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        ended = status.state.terminated
        if wanted.get("containerName") not in (None, status.name) or ended is None or not ended.exit_code:
            continue
        if (ended.exit_code in values) == inside:
            return f"Container {status.name} for pod {pod.key} failed with exit code {ended.exit_code}"
    return ""


def _condition_match(wanted: Sequence[Mapping[str, Any]] | None, pod: Pod) -> str:
    for pattern in wanted or ():
        kind, status = pattern.get("type"), pattern.get("status", "True")
        if any((each.type, each.status) == (kind, status) for each in pod.status.conditions):
            return f"Pod {pod.key} has condition {kind}"
    return ""


def finished_at(pod: Pod) -> datetime | None:
    """When the last of its containers ended; else when its state last changed, or it was made."""
    ends = [
        status.state.terminated.finished_at
        for status in pod.status.container_statuses
        if status.state.terminated and status.state.terminated.finished_at
    ]
    if ends:
        return max(ends)
    changes = [each.last_transition_time for each in pod.status.conditions if each.last_transition_time]
    return max(changes, default=pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp)


def delay(pods: Iterable[Pod], now: datetime) -> float:
    """Seconds to wait before another pod is made, by the failures since the last success."""
    failures: list[datetime] = []
    success: datetime | None = None
    for pod in pods:
        moment = finished_at(pod)
        if moment is None:
            continue
        if pod.status.phase == FAILED:
            failures.append(moment)
        elif pod.status.phase == SUCCEEDED:
            success = max(success or moment, moment)
    failures = [moment for moment in failures if success is None or moment > success]
    if not failures:
        return 0.0
    wait = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(len(failures) - 1, _DOUBLINGS))
    return max(0.0, (max(failures) + timedelta(seconds=wait) - now).total_seconds())
