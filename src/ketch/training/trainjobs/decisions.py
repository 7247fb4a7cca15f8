"""What to report of a TrainJob, from its JobSet. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ketch.kube.conditions import find, is_true, set_conditions
from ketch.kube.meta import Condition
from ketch.training.jobsets.decisions import COMPLETED, FAILED
from ketch.training.jobsets.types import JobSet
from ketch.training.trainjobs.types import JobStatus, TrainJob, TrainJobStatus

COMPLETE, SUSPENDED = "Complete", "Suspended"
_DEADLINE: Final = "DeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to report; ``look_again`` seconds until time alone changes it, ``end`` whether the JobSet must go."""

    status: TrainJobStatus
    look_again: float | None = None
    end: bool = False


def is_finished(job: TrainJob) -> bool:
    """Whether the job has ended for good."""
    return is_true(job.status.conditions, COMPLETE, FAILED)


def verdict(job: TrainJob, jobset: JobSet | None, now: datetime) -> Verdict:
    """What has become of a job that had not ended."""
    status = msgspec.structs.replace(job.status, jobs_status=tuple(_steps(jobset)))
    status = _set(status, job, now, *_suspension(job), *_ends(jobset))
    if is_true(status.conditions, COMPLETE, FAILED):
        return Verdict(status)
    left = _left(job, status, now)
    if left is None:
        return Verdict(status)
    if left > 0:
        return Verdict(status, look_again=left)
    message = f"the job was active for longer than its {job.spec.active_deadline_seconds} seconds"
    over = Condition(type=FAILED, status="True", reason=_DEADLINE, message=message)
    return Verdict(_set(status, job, now, over), end=True)


def _left(job: TrainJob, status: TrainJobStatus, now: datetime) -> float | None:
    """Seconds until the deadline, which counts from the creation, or from when the job was last resumed."""
    deadline, begun = job.spec.active_deadline_seconds, job.metadata.creation_timestamp
    if deadline is None or begun is None or job.spec.suspend:
        return None
    resumed = find(status.conditions, SUSPENDED)
    if resumed is not None and resumed.status == "False" and resumed.last_transition_time is not None:
        begun = max(begun, resumed.last_transition_time)
    return (begun + timedelta(seconds=deadline) - now).total_seconds()


def _suspension(job: TrainJob) -> Iterable[Condition]:
    if job.spec.suspend:
        yield Condition(type=SUSPENDED, status="True", reason="Suspended", message="the job is suspended")
    elif is_true(job.status.conditions, SUSPENDED):
        yield Condition(type=SUSPENDED, status="False", reason="Resumed", message="the job is resumed")


def _ends(jobset: JobSet | None) -> Iterable[Condition]:
    """The JobSet's end is the job's, in its own words."""
    conditions = jobset.status.conditions if jobset else ()
    for theirs, ours in ((COMPLETED, COMPLETE), (FAILED, FAILED)):
        condition = find(conditions, theirs)
        if condition is not None and condition.status == "True":
            yield Condition(type=ours, status="True", reason=condition.reason, message=condition.message)


def _steps(jobset: JobSet | None) -> Iterable[JobStatus]:
    for each in jobset.status.replicated_jobs_status if jobset else ():
        yield JobStatus(
            name=each.name,
            ready=each.ready,
            succeeded=each.succeeded,
            failed=each.failed,
            active=each.active,
            suspended=each.suspended,
        )


def _set(status: TrainJobStatus, job: TrainJob, now: datetime, *new: Condition) -> TrainJobStatus:
    conditions = set_conditions(status.conditions, *new, generation=job.metadata.generation, now=now)
    return msgspec.structs.replace(status, conditions=conditions)
