"""What to do about a JobSet, and what to report, from the Jobs that there are. Pure: one pass, one ``Decision``.

Follows JobSet 0.12. Jobs carry the number of their attempt; a restart raises the number, and Jobs of earlier attempts
are deleted before those of the next one take their names.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from ketch.kube.conditions import find, is_true, set_conditions
from ketch.kube.meta import Condition
from ketch.kube.types.batch import Job
from ketch.training.announcements import NORMAL, WARNING, Announcement
from ketch.training.jobsets.desired import (
    ATTEMPT_LABEL,
    REPLICATED_JOB_LABEL,
    TEMPLATE,
    Layout,
    Place,
    job_name,
    job_of,
    layout_of,
    replicas_of,
    template_mark,
)
from ketch.training.jobsets.types import FailurePolicyRule, JobSet, JobSetStatus, ReplicatedJob, ReplicatedJobStatus

COMPLETED, FAILED, SUSPENDED = "Completed", "Failed", "Suspended"
STARTING, STARTED = "StartupPolicyInProgress", "StartupPolicyCompleted"

_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_RESTARTS: Final = ("RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts")
_IGNORES_LIMIT: Final = ("RestartJobSetAndIgnoreMaxRestarts", "RestartJobAndIgnoreMaxRestarts")


@dataclass(slots=True)
class Decision:
    """What one pass does; ``status`` is what to report afterwards."""

    status: JobSetStatus
    create: list[Job] = field(default_factory=list[Job])
    delete: list[Job] = field(default_factory=list[Job])
    suspend: list[Job] = field(default_factory=list[Job])
    resume: list[tuple[Job, Job]] = field(default_factory=list[tuple[Job, Job]])
    """Jobs that go on, each with what it should be."""

    announcements: list[Announcement] = field(default_factory=list[Announcement])
    prepare: bool = False
    """Whether service and claims must be there."""

    look_again: float | None = None
    remove: bool = False


def is_finished(jobset: JobSet) -> bool:
    """Whether it has ended for good."""
    return is_true(jobset.status.conditions, COMPLETED, FAILED)


def decide(jobset: JobSet, jobs: Sequence[Job], now: datetime) -> Decision:
    """One pass over a JobSet that exists and is this controller's."""
    decision = Decision(jobset.status)
    current = [job for job in jobs if _attempt(job) == jobset.status.restarts]
    decision.delete += [job for job in jobs if _attempt(job) < jobset.status.restarts and not _is_going(job)]
    if is_finished(jobset):
        _finished(decision, jobset, current, now)
    else:
        _Pass(decision, jobset, jobs, current, now).run()
    return decision


def _finished(decision: Decision, jobset: JobSet, current: Iterable[Job], now: datetime) -> None:
    """What still runs is ended; what has ended stays for its logs until its time is over."""
    decision.delete += [job for job in current if not _has_ended(job) and not _is_going(job)]
    ttl = jobset.spec.ttl_seconds_after_finished
    ends = [find(jobset.status.conditions, each) for each in (COMPLETED, FAILED)]
    moments = [end.last_transition_time for end in ends if end and end.status == "True" and end.last_transition_time]
    if ttl is not None and moments:
        left = (min(moments) + timedelta(seconds=ttl) - now).total_seconds()
        decision.remove = left <= 0
        decision.look_again = max(left, 0.0) or None


class _Pass:
    """One pass over a JobSet that goes on."""

    def __init__(
        self, decision: Decision, jobset: JobSet, jobs: Sequence[Job], current: Sequence[Job], now: datetime
    ) -> None:
        self.decision, self.jobset, self.current, self.now = decision, jobset, current, now
        self.taken = {job.metadata.name for job in jobs}  # those of an earlier attempt as well
        policy = jobset.spec.failure_policy
        self.waits = bool(policy and policy.restart_strategy == "BlockingRecreate" and len(jobs) > len(current))
        self.sizes = {each.name: replicas_of(each) for each in jobset.spec.replicated_jobs}
        self.layout: Layout = layout_of(jobset)
        self.counts = {each.name: each for each in self._count()}

    def run(self) -> None:
        decision = self.decision
        decision.status = msgspec.structs.replace(decision.status, replicated_jobs_status=tuple(self.counts.values()))
        # One that is to begin again alone goes first, and has been counted.
        lost = (job for job in self.current if is_true(job.status.conditions, "Failed") and not _is_going(job))
        failed = sorted(lost, key=_failed_at)
        if failed:
            self._on_failure(failed)
        elif self._has_succeeded():
            self._end(COMPLETED, "AllJobsCompleted", "jobset completed successfully")
            decision.delete += [job for job in self.current if not _has_ended(job) and not _is_going(job)]
        else:
            decision.prepare = True
            self._start()
            self._follow_suspension()

    def _count(self) -> Iterable[ReplicatedJobStatus]:
        by_name: dict[str, list[Job]] = {}
        for job in self.current:
            by_name.setdefault(job.metadata.labels.get(REPLICATED_JOB_LABEL, ""), []).append(job)
        for replicated in self.jobset.spec.replicated_jobs:
            jobs = by_name.get(replicated.name, ())
            succeeded = sum(is_true(job.status.conditions, "Complete") for job in jobs)
            failed = sum(is_true(job.status.conditions, "Failed") for job in jobs)
            open_jobs = [job for job in jobs if not _has_ended(job)]
            yield ReplicatedJobStatus(
                name=replicated.name,
                ready=sum(_is_ready(job) for job in open_jobs),
                succeeded=succeeded,
                failed=failed,
                active=sum(job.status.active > 0 for job in open_jobs),
                suspended=sum(bool(job.spec.suspend) for job in open_jobs),
            )

    # --- ends ---

    def _has_succeeded(self) -> bool:
        policy = self.jobset.spec.success_policy
        targets = policy.target_replicated_jobs if policy else ()
        wanted = [job for job in self.layout.places if not targets or job.replicated.name in targets]
        done = sum(each.succeeded for each in self.counts.values() if not targets or each.name in targets)
        return done > 0 if policy and policy.operator == "Any" else 0 < len(wanted) <= done

    def _on_failure(self, failed: Sequence[Job]) -> None:
        """The first rule that speaks of the first failed Job decides."""
        first, policy = failed[0], self.jobset.spec.failure_policy
        name = first.metadata.name
        if policy is None:
            message = f"jobset failed due to one or more job failures (first failed job: {name})"
            self._end(FAILED, "FailedJobs", message)
            return
        rule = next((each for each in policy.rules if _speaks_of(each, first)), None)
        action = rule.action if rule else "RestartJobSet"
        if action == "FailJobSet":
            message = f"jobset failed due to one or more job failures (first failed job: {name})"
            self._end(FAILED, "FailJobSetFailurePolicyAction", message)
            return
        counted = self.jobset.status.restarts_count_towards_max
        if action not in _IGNORES_LIMIT:
            if counted >= policy.max_restarts:
                message = f"jobset failed due to reaching max number of restarts (first failed job: {name})"
                self._end(FAILED, "ReachedMaxRestarts", message)
                return
            counted += 1
        self._restart(action, first, counted)

    def _restart(self, action: str, first: Job, counted: int) -> None:
        decision, status = self.decision, self.decision.status
        decision.announcements.append(
            Announcement(NORMAL, f"{action}FailurePolicyAction", f"restarting: job {first.metadata.name} failed")
        )
        if action in _RESTARTS:
            restarts = status.restarts + 1
            decision.status = msgspec.structs.replace(status, restarts=restarts, restarts_count_towards_max=counted)
            decision.delete += [job for job in self.current if not _is_going(job)]
        else:  # the Job alone begins again
            decision.status = msgspec.structs.replace(status, restarts_count_towards_max=counted)
            decision.delete.append(first)

    def _end(self, type_: str, reason: str, message: str) -> None:
        condition = Condition(type=type_, status="True", reason=reason, message=message)
        self._set(condition)
        self.decision.status = msgspec.structs.replace(self.decision.status, terminal_state=type_)
        severity = WARNING if type_ == FAILED else NORMAL
        self.decision.announcements.append(Announcement(severity, reason, message))

    def _set(self, condition: Condition) -> None:
        status, generation = self.decision.status, self.jobset.metadata.generation
        conditions = set_conditions(status.conditions, condition, generation=generation, now=self.now)
        self.decision.status = msgspec.structs.replace(status, conditions=conditions)

    # --- starts ---

    def _start(self) -> None:
        """Create what is missing and may start."""
        in_order = self._starts_in_order()
        by_job: dict[str, list[Place]] = {}
        for place in self.layout.places:
            by_job.setdefault(place.replicated.name, []).append(place)
        all_started = True
        for replicated in self.jobset.spec.replicated_jobs:
            if not self._dependencies_met(replicated):
                all_started = False
                continue
            for place in by_job.get(replicated.name, ()):
                if not self.waits and job_name(self.jobset, replicated, place.index) not in self.taken:
                    self.decision.create.append(job_of(self.jobset, self.layout, place))
            if in_order and not self._is_ready(replicated):
                all_started = False
                break
        if in_order:
            self._report_startup(done=all_started)

    def _starts_in_order(self) -> bool:
        policy = self.jobset.spec.startup_policy
        return policy is not None and policy.in_order

    def _dependencies_met(self, replicated: ReplicatedJob) -> bool:
        for dependency in replicated.depends_on:
            counts, wanted = self.counts.get(dependency.name), self.sizes.get(dependency.name, 0)
            if counts is None:
                return False
            far = (
                counts.succeeded if dependency.status == "Complete" else counts.ready + counts.succeeded + counts.failed
            )
            if far < wanted:
                return False
        return True

    def _is_ready(self, replicated: ReplicatedJob) -> bool:
        counts = self.counts[replicated.name]
        return counts.ready + counts.succeeded + counts.failed >= self.sizes[replicated.name]

    def _report_startup(self, *, done: bool) -> None:
        if done:
            self._set(
                Condition(type=STARTING, status="False", reason=STARTING, message="startup policy is in progress")
            )
            message = "startup policy has completed"
            self._set(Condition(type=STARTED, status="True", reason=STARTED, message=message))
        elif not self.jobset.spec.suspend:
            self._set(Condition(type=STARTING, status="True", reason=STARTING, message="startup policy is in progress"))

    def _follow_suspension(self) -> None:
        suspend = bool(self.jobset.spec.suspend)
        before = is_true(self.jobset.status.conditions, SUSPENDED)
        wanted = {job_name(self.jobset, place.replicated, place.index): place for place in self.layout.places}
        places = {job.metadata.name: wanted.get(job.metadata.name) for job in self.current}
        open_jobs = [job for job in self.current if not _has_ended(job) and not _is_going(job)]
        # What was changed while it was suspended counts from now on, and a Job's template does not change.
        outdated = [job for job in open_jobs if _has_another_template(job, places[job.metadata.name])]
        self.decision.delete += outdated
        gone = {job.metadata.name for job in outdated}
        current = [job for job in open_jobs if job.metadata.name not in gone]
        if suspend:
            self.decision.suspend += [job for job in current if not job.spec.suspend]
            if not before:
                self._tell_suspension("True", "SuspendedJobs", "jobset is suspended")
            return
        for job in current:
            if job.spec.suspend and (place := places[job.metadata.name]) is not None:
                self.decision.resume.append((job, job_of(self.jobset, self.layout, place)))
        if before:
            self._tell_suspension("False", "ResumeJobs", "jobset is resumed")

    def _tell_suspension(self, status: str, reason: str, message: str) -> None:
        self._set(Condition(type=SUSPENDED, status=status, reason=reason, message=message))
        self.decision.announcements.append(Announcement(NORMAL, reason, message))


def _has_another_template(job: Job, place: Place | None) -> bool:
    """Whether a Job that waits, and has nothing to lose, was made from a template that is no longer the JobSet's."""
    waits = bool(job.spec.suspend) and not (job.status.active or job.status.terminating or job.status.succeeded)
    return waits and place is not None and job.metadata.annotations.get(TEMPLATE) != template_mark(place.replicated)


def _attempt(job: Job) -> int:
    text = job.metadata.labels.get(ATTEMPT_LABEL, "0")
    return int(text) if text.isdigit() else 0


def _is_going(job: Job) -> bool:
    return job.metadata.deletion_timestamp is not None


def _has_ended(job: Job) -> bool:
    return is_true(job.status.conditions, "Complete", "Failed")


def _is_ready(job: Job) -> bool:
    """Whether as many pods are ready, or have done their work, as the Job runs at a time."""
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    wanted = min(parallelism, parallelism if job.spec.completions is None else job.spec.completions)
    return (job.status.ready or 0) + job.status.succeeded >= wanted


def _failed_at(job: Job) -> datetime:
    condition = find(job.status.conditions, "Failed")
    moment = condition.last_transition_time if condition else None
    return moment or job.metadata.creation_timestamp or _LATEST


def _speaks_of(rule: FailurePolicyRule, job: Job) -> bool:
    condition = find(job.status.conditions, "Failed")
    if condition is None:
        return False
    if rule.target_replicated_jobs and job.metadata.labels.get(REPLICATED_JOB_LABEL) not in rule.target_replicated_jobs:
        return False
    if rule.on_job_failure_reasons and condition.reason not in rule.on_job_failure_reasons:
        return False
    patterns: Sequence[str] = rule.on_job_failure_message_patterns
    return not patterns or any(re.search(pattern, condition.message) for pattern in patterns)
