"""From a request to a recurring run's row, and from the row to its trigger and its next run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

from ketch.kube.times.cron import CronError, parse_cron
from ketch.pipelines.creation import Occasion, RunRequest, new_run, resource_name
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.records.tables import NAME_LENGTH, RecurringRun
from ketch.pipelines.schedules.triggers import Trigger
from ketch.pipelines.specifications import Specification

MAX_CONCURRENCY: Final = 10
_RUNS: Final = UUID("6a1c1d0e-4b0b-5a55-9b2f-5d4f0c7f8a11")  # the ids of runs that schedules make
_MOST_NAME: Final = NAME_LENGTH - len("-2147483647-4294967295")  # a run's name adds its number and a hash
_LONGEST_INTERVAL: Final = timedelta(days=100 * 366).total_seconds()
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


@dataclass(frozen=True, slots=True)
class Timing:
    """When a recurring run fires. ``cron`` and ``interval_second`` are None when not given."""

    cron: str | None = None
    interval_second: int | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecurringRequest:
    """What a user asks for. ``specification`` is what a run would be made of now; ``by_reference`` tells that runs take
    it from the catalogue when they are due."""

    display_name: str
    experiment_id: str
    specification: Specification
    by_reference: bool
    timing: Timing
    enabled: bool
    max_concurrency: int
    no_catchup: bool = False
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pipeline_root: str = ""
    service_account: str = ""
    pipeline_id: str | None = None
    pipeline_version_id: str | None = None


def new_recurring_run(request: RecurringRequest, now: datetime, zone: tzinfo) -> RecurringRun:
    """The row of a recurring run whose runs can start. Raises InvalidInput, naming the field."""
    if not request.display_name or len(request.display_name) > _MOST_NAME:
        raise InvalidInput(f"display_name: a recurring run needs a name of 1 to {_MOST_NAME} characters")
    if not 1 <= request.max_concurrency <= MAX_CONCURRENCY:
        raise InvalidInput(
            f"Max concurrency of a recurring run must be at least 1 and at most {MAX_CONCURRENCY}. "
            f"Received {request.max_concurrency}"
        )
    timing = request.timing
    _check_timing(timing, now, zone)
    identity = str(uuid4())
    row = RecurringRun(
        id=identity,
        name=resource_name(request.display_name, identity),
        display_name=request.display_name,
        description=request.description,
        experiment_id=request.experiment_id,
        pipeline_spec=None if request.by_reference else request.specification.pipeline,
        platform_spec=None if request.by_reference else request.specification.platform,
        pipeline_id=request.pipeline_id,
        pipeline_version_id=request.pipeline_version_id,
        parameters=dict(request.parameters),
        pipeline_root=request.pipeline_root,
        service_account=request.service_account,
        max_concurrency=request.max_concurrency,
        no_catchup=request.no_catchup,
        cron=timing.cron or "",
        interval_second=timing.interval_second or 0,
        start_at=timing.start,
        end_at=timing.end,
        enabled=request.enabled,
        created_at=now,
        updated_at=now,
        last_index=0,
    )
    # A run that could not be made later is refused now, while somebody is there to read why.
    new_run(next_request(row, request.specification, request.pipeline_version_id, now), now)
    return row


def trigger_of(row: RecurringRun, zone: tzinfo) -> Trigger:
    """The row's trigger. Raises CronError, which a row of ``new_recurring_run`` never does."""
    return Trigger(
        ticks=parse_cron(row.cron, zone) if row.cron else None,
        interval=timedelta(seconds=row.interval_second) if row.interval_second else None,
        start=row.start_at,
        end=row.end_at,
        catch_up=not row.no_catchup,
    )


def next_request(row: RecurringRun, specification: Specification, version_id: str | None, due: datetime) -> RunRequest:
    """The run that the schedule makes for ``due``: the same each time until that run has been counted."""
    index = row.last_index + 1
    name = run_name(row.name, index)
    return RunRequest(
        display_name=name,
        experiment_id=row.experiment_id,
        specification=specification,
        description=row.description,
        parameters=row.parameters,
        pipeline_root=row.pipeline_root,
        service_account=row.service_account,
        pipeline_id=row.pipeline_id,
        pipeline_version_id=version_id,
        occasion=Occasion(str(uuid5(_RUNS, f"{row.id}/{name}")), row.id, due, index),
    )


def run_name(name: str, index: int) -> str:
    """What upstream's controller calls the runs of a schedule: its name, their number, a hash of both."""
    text = f"{name}-{index}"
    return f"{text}-{_fnv32a(text.encode())}"


def _fnv32a(content: bytes) -> int:
    value = _FNV_OFFSET
    for byte in content:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def _check_timing(timing: Timing, now: datetime, zone: tzinfo) -> None:
    if timing.cron is not None and timing.interval_second is not None:
        raise InvalidInput("trigger: cron_schedule and periodic_schedule exclude each other")
    if timing.cron is not None:
        _check_cron(timing.cron, timing.start or now, zone)
    interval = timing.interval_second
    if interval is not None and not 1 <= interval <= _LONGEST_INTERVAL:
        limit = "to least 1 second" if interval < 1 else "within a hundred years"
        raise InvalidInput(f"Found invalid period schedule interval {interval}. Set at interval {limit}")
    if timing.start is not None and timing.end is not None and timing.end < timing.start:
        raise InvalidInput("trigger: end_time is before start_time")


def _check_cron(cron: str, start: datetime, zone: tzinfo) -> None:
    try:
        ticks = parse_cron(cron, zone)
        if ticks.after(start) is None:
            raise CronError(f"{cron} names a time that never comes")
    except CronError as error:
        raise InvalidInput(
            f"Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: {error}"
        ) from error
