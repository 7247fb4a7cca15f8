"""A Job's pods, counted so that none is lost and none counts twice, and what follows from the counts. Pure.

A pod keeps the tracking finalizer until its end stands in ``status.uncountedTerminatedPods`` on disk; its uid leaves
that list for the counts only when the pod is seen without the finalizer. So each step may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from ketch.kube.conditions import is_true, set_conditions
from ketch.kube.types.batch import Job, JobCondition, JobStatus, UncountedTerminatedPods
from ketch.kube.types.pods import Pod
from ketch.local.workloads.jobs import indexes
from ketch.local.workloads.jobs.failures import FAIL_JOB, IGNORE, judge
from ketch.local.workloads.jobs.perindex import INDEX, counts_by_index, failed_indexes
from ketch.local.workloads.jobs.successes import met_rule
from ketch.local.workloads.pods import FAILED, LATEST, SUCCEEDED, is_active, is_deleting, is_ready, is_terminal

TRACKING = "batch.kubernetes.io/job-tracking"
COMPLETE, JOB_FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
CRITERIA_MET, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"
REPLACE_FAILED = "Failed"
"""A podReplacementPolicy: a pod that is being deleted is replaced only when it has ended."""


def is_finished(job: Job) -> bool:
    """Whether the Job has ended for good."""
    return is_true(job.status.conditions, COMPLETE, JOB_FAILED)


def is_indexed(job: Job) -> bool:
    """Whether each of its pods stands for one number."""
    return job.spec.completion_mode == "Indexed"


def index_of(pod: Pod) -> int | None:
    """The number that the pod stands for."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdecimal() else None


def is_tracked(pod: Pod) -> bool:
    """Whether its end is still to be counted."""
    return TRACKING in pod.metadata.finalizers


@dataclass(frozen=True)
class Tally:
    """Pods by what they mean for the Job. ``succeeded`` and ``failed`` hold all that ever were."""

    active: tuple[Pod, ...]
    terminating: int
    ready: int
    succeeded: int
    failed: int
    uncounted: UncountedTerminatedPods
    counted_succeeded: int
    counted_failed: int
    completed: frozenset[int]
    to_release: tuple[Pod, ...]
    fail_message: str = ""
    given_up: frozenset[int] = frozenset()
    """Indexes that have failed more often than each may."""


def _ended_as(job: Job, pod: Pod) -> str:
    """Succeeded, Failed, or empty for a pod that may still do either."""
    if is_terminal(pod):
        return pod.status.phase
    replaced_at_once = job.spec.pod_replacement_policy != REPLACE_FAILED
    return FAILED if is_deleting(pod) and replaced_at_once else ""


def tally(job: Job, pods: Sequence[Pod]) -> Tally:
    """Count the pods seen."""
    status, known = job.status, job.status.uncounted_terminated_pods or UncountedTerminatedPods()
    held = {pod.metadata.uid for pod in pods if is_tracked(pod)}
    limit = job.spec.completions or 0
    completed = {index for index in indexes.parse(status.completed_indexes) if index < limit}
    succeeded = [uid for uid in known.succeeded if uid in held]
    failed = [uid for uid in known.failed if uid in held]
    listed = {*known.succeeded, *known.failed}
    release: list[Pod] = []
    message = ""
    for pod in pods:
        how, uid = _ended_as(job, pod), pod.metadata.uid
        if not how or not is_tracked(pod):
            continue
        release.append(pod)
        if uid in listed:
            continue
        if how == SUCCEEDED and is_indexed(job):
            number = index_of(pod)
            completed |= {number} if number is not None and number < limit else set()
        elif how == SUCCEEDED:
            succeeded.append(uid)
        else:
            verdict = judge(job, pod) if pod.status.phase == FAILED else None
            message = message or (verdict.message if verdict and verdict.action == FAIL_JOB else "")
            if verdict is None or verdict.action != IGNORE:
                failed.append(uid)
    done_failed = status.failed + len(known.failed) - sum(uid in held for uid in known.failed)
    done_succeeded = status.succeeded + len(known.succeeded) - sum(uid in held for uid in known.succeeded)
    if is_indexed(job):
        done_succeeded = len(completed)
    active = tuple(pod for pod in pods if is_active(pod))
    return Tally(
        active=active,
        terminating=sum(is_deleting(pod) and not is_terminal(pod) for pod in pods),
        ready=sum(map(is_ready, active)),
        succeeded=done_succeeded + len(succeeded),
        failed=done_failed + len(failed),
        uncounted=UncountedTerminatedPods(succeeded=tuple(succeeded), failed=tuple(failed)),
        counted_succeeded=done_succeeded,
        counted_failed=done_failed,
        completed=frozenset(completed),
        to_release=tuple(release),
        fail_message=message,
        given_up=failed_indexes(job, pods, completed),
    )


@dataclass(frozen=True)
class Ending:
    """How the Job is to end: Complete or Failed, with reason and message."""

    kind: str
    reason: str
    message: str


def ending(job: Job, counted: Tally, now: datetime) -> Ending | None:
    """Whether the Job's end is decided; what was decided once stays."""
    for condition in job.status.conditions:
        if condition.status == "True" and condition.type in (CRITERIA_MET, FAILURE_TARGET):
            kind = COMPLETE if condition.type == CRITERIA_MET else JOB_FAILED
            return Ending(kind, condition.reason, condition.message)
    if counted.fail_message:
        return Ending(JOB_FAILED, "PodFailurePolicy", counted.fail_message)
    if counted.failed > _limit(job) or _restarts_exceed(job, counted):
        return Ending(JOB_FAILED, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = deadline_left(job, now)
    if left is not None and left <= 0:
        return Ending(JOB_FAILED, "DeadlineExceeded", "Job was active longer than specified deadline")
    return _given_up(job, counted) or _success(job, counted)


def _given_up(job: Job, counted: Tally) -> Ending | None:
    """More indexes have failed than may, or some have and the others are done."""
    failed, most = len(counted.given_up), job.spec.max_failed_indexes
    if most is not None and failed > most:
        message = "Job has exceeded the specified maximal number of failed indexes"
        return Ending(JOB_FAILED, "MaxFailedIndexesExceeded", message)
    if failed and failed + len(counted.completed) >= (job.spec.completions or 0):
        return Ending(JOB_FAILED, "FailedIndexes", "Job has failed indexes")
    return None


def _success(job: Job, counted: Tally) -> Ending | None:
    """Enough pods have succeeded, or those that its policy names; a policy holds while the Job is suspended, too."""
    if is_indexed(job) and (rule := met_rule(job, counted.completed)) is not None:
        return Ending(COMPLETE, "SuccessPolicy", f"Matched rules at index {rule}")
    if job.spec.completions is None:
        reached = counted.succeeded > 0 and not counted.active
    else:
        reached = counted.succeeded >= job.spec.completions
    if reached and not job.spec.suspend:
        return Ending(COMPLETE, "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _limit(job: Job) -> int:
    return 6 if job.spec.backoff_limit is None else job.spec.backoff_limit


def _restarts_exceed(job: Job, counted: Tally) -> bool:
    """Containers that are restarted in place count as failures too."""
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        status.restart_count or 0
        for pod in counted.active
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
    return restarts > 0 if not _limit(job) else restarts >= _limit(job)


def deadline_left(job: Job, now: datetime) -> float | None:
    """Seconds until the Job has been active for too long; None when it may take its time."""
    seconds, start = job.spec.active_deadline_seconds, job.status.start_time
    if seconds is None or start is None or job.spec.suspend:
        return None
    return (start + timedelta(seconds=seconds) - now).total_seconds()


def wanted_active(job: Job, counted: Tally) -> int:
    """How many pods should be at work."""
    if job.spec.suspend:
        return 0
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    if job.spec.completions is None:
        # A work queue: once one has found it empty, the others finish and no new ones begin.
        return min(parallelism, len(counted.active)) if counted.succeeded else parallelism
    wanted = min(parallelism, max(0, job.spec.completions - counted.succeeded - len(counted.given_up)))
    if job.spec.pod_replacement_policy == REPLACE_FAILED:
        wanted = max(min(wanted, len(counted.active)), wanted - counted.terminating)
    return wanted


def superfluous(job: Job, active: Sequence[Pod]) -> list[Pod]:
    """Active pods of an Indexed Job whose number there is no more, or that an older pod has as well."""
    if not is_indexed(job):
        return []
    held: set[int] = set()
    found: list[Pod] = []
    for pod in sorted(active, key=lambda each: (not is_ready(each), each.metadata.creation_timestamp or LATEST)):
        index = index_of(pod)
        if index is None or index in held or index >= (job.spec.completions or 0):
            found.append(pod)
        else:
            held.add(index)
    return found


def free_indexes(job: Job, counted: Tally, count: int) -> list[int]:
    """The lowest ``count`` numbers for which no pod has succeeded or is at work."""
    taken = {*counted.completed, *counted.given_up, *(index_of(pod) for pod in counted.active)}
    found: list[int] = []
    for index in range(job.spec.completions or 0):
        if len(found) >= count:
            break
        if index not in taken:
            found.append(index)
    return found


def next_status(job: Job, counted: Tally, end: Ending | None, now: datetime) -> JobStatus:
    """What to report; the Job is finished only when none of its pods is at work or uncounted."""
    now = now.replace(microsecond=0)
    status = job.status
    uncounted = counted.uncounted
    start = status.start_time
    if start is None and not job.spec.suspend:
        start = now
    conditions = _conditions(job, counted, end, now)
    complete = is_true(conditions, COMPLETE)
    return msgspec.structs.replace(
        status,
        conditions=conditions,
        start_time=None if job.spec.suspend and end is None else start,
        completion_time=(status.completion_time or now) if complete else None,
        active=len(counted.active),
        ready=counted.ready,
        terminating=counted.terminating,
        succeeded=counted.counted_succeeded,
        failed=counted.counted_failed,
        completed_indexes=indexes.text_of(counted.completed) if is_indexed(job) else "",
        failed_indexes=indexes.text_of(counted.given_up) if counts_by_index(job) else None,
        uncounted_terminated_pods=uncounted,
    )


def _conditions(job: Job, counted: Tally, end: Ending | None, now: datetime) -> tuple[JobCondition, ...]:
    before, fresh = job.status.conditions, list[JobCondition]()

    def add(kind: str, status: str, reason: str, message: str) -> None:
        old = next((each for each in before if each.type == kind), None)
        changed = old is None or (old.status, old.reason) != (status, reason)
        probed = now if changed or old is None else old.last_probe_time
        fresh.append(JobCondition(type=kind, status=status, reason=reason, message=message, last_probe_time=probed))

    if end is not None:
        first = CRITERIA_MET if end.kind == COMPLETE else FAILURE_TARGET
        add(first, "True", end.reason, end.message)
        at_rest = not (counted.active or counted.terminating)
        if at_rest and not (counted.uncounted.succeeded or counted.uncounted.failed):
            add(end.kind, "True", end.reason, end.message)
    elif job.spec.suspend:
        add(SUSPENDED, "True", "JobSuspended", "Job suspended")
    elif any(each.type == SUSPENDED for each in before):
        add(SUSPENDED, "False", "JobResumed", "Job resumed")
    return set_conditions(before, *fresh, now=now)
