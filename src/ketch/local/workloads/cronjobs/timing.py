"""Which time of a CronJob is due. Pure.

Of times that passed while nobody looked (the cluster was down, the CronJob suspended), the latest alone is made up for;
with ``startingDeadlineSeconds``, only when it is no older than that.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ketch.kube.meta import ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.times.cron import CronError, Ticks, parse_crontab
from ketch.kube.types.batch import CronJob, Job

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANUAL = "cronjob.kubernetes.io/instantiate"
"""On a Job that somebody made by hand from the CronJob's template."""


class ScheduleError(ValueError):
    """The CronJob's time zone or schedule cannot be read. ``reason`` is the event's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Turn(NamedTuple):
    """The time to make a Job for, if any; one that was missed for good, if any; and the next to come."""

    due: datetime | None
    missed: datetime | None
    following: datetime | None


def zone_of(cron_job: CronJob) -> tzinfo:
    """Where its hours are told. Raises ScheduleError."""
    name = cron_job.spec.time_zone
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ScheduleError("UnknownTimeZone", f'invalid timeZone: "{name}": unknown time zone {name}') from None


def ticks_of(cron_job: CronJob) -> Ticks:
    """Its times. Raises ScheduleError."""
    zone = zone_of(cron_job)
    try:
        return parse_crontab(cron_job.spec.schedule, zone)
    except CronError as error:
        text = f'unparseable schedule: "{cron_job.spec.schedule}" : {error}'
        raise ScheduleError("UnparseableSchedule", text) from None


def turn(cron_job: CronJob, ticks: Ticks, now: datetime) -> Turn:
    """What is due at ``now``."""
    known = cron_job.status.last_schedule_time or cron_job.metadata.creation_timestamp or now
    following = ticks.after(now)
    first = ticks.after(known)
    if first is None or first > now:
        return Turn(None, None, first or following)
    latest = ticks.latest(first, now)
    limit = cron_job.spec.starting_deadline_seconds
    if limit is not None and latest + timedelta(seconds=limit) < now:
        return Turn(None, latest, following)
    return Turn(latest, None, following)


def job_name(cron_job: CronJob, due: datetime) -> str:
    """The Job of that time."""
    return f"{cron_job.metadata.name}-{int(due.timestamp()) // 60}"


def job_for(cron_job: CronJob, due: datetime) -> Job:
    """A new Job for that time."""
    template = cron_job.spec.job_template
    told = due.astimezone(zone_of(cron_job)).isoformat(timespec="seconds").replace("+00:00", "Z")
    meta = ObjectMeta(
        name=job_name(cron_job, due),
        namespace=cron_job.metadata.namespace,
        labels=template.metadata.labels,
        annotations={**template.metadata.annotations, SCHEDULED_AT: told},
        finalizers=template.metadata.finalizers,
    )
    return controlled_by(cron_job, Job(metadata=meta, spec=template.spec))


def is_manual(annotations: Mapping[str, Any]) -> bool:
    """Whether a Job was made by hand: it is none of the CronJob's times."""
    return annotations.get(MANUAL) == "manual"
