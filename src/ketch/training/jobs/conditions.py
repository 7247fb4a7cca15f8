"""Conditions of a job as Kubeflow's clients read them: ordered, the newest last. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ketch.training.jobs.types import JobCondition

CREATED, RUNNING, RESTARTING = "Created", "Running", "Restarting"
SUCCEEDED, FAILED, SUSPENDED = "Succeeded", "Failed", "Suspended"

_DISPLACED = {RESTARTING: RUNNING, RUNNING: RESTARTING}
_ENDED_BY = (SUCCEEDED, FAILED, SUSPENDED)
"""What makes Running false."""


def holds(conditions: Sequence[JobCondition], *types: str) -> bool:
    """Whether one of ``types`` is true."""
    return any(each.type in types and each.status == "True" for each in conditions)


def added(conditions: Sequence[JobCondition], new: JobCondition, now: datetime) -> tuple[JobCondition, ...]:
    """``conditions`` with ``new`` as the newest; as they are when it says nothing new, or the job has failed.

    Running and Restarting displace each other; an end makes Running false.
    """
    now = now.replace(microsecond=0)
    current = next((each for each in conditions if each.type == new.type), None)
    same = current is not None and (current.status, current.reason) == (new.status, new.reason)
    if same or holds(conditions, FAILED):
        return tuple(conditions)
    kept: list[JobCondition] = []
    for each in conditions:
        if each.type in (new.type, _DISPLACED.get(new.type)):
            continue
        ends = new.type in _ENDED_BY and new.status == "True" and each.type == RUNNING and each.status == "True"
        kept.append(
            msgspec.structs.replace(each, status="False", last_update_time=now, last_transition_time=now)
            if ends
            else each
        )
    since = current.last_transition_time if current is not None and current.status == new.status else now
    return (*kept, msgspec.structs.replace(new, last_update_time=now, last_transition_time=since))
