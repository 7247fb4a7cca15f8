"""When a schedule's next run is due. Pure, and in whole seconds.

Cron ticks come after the last run's, else after the start time, else after creation; periods are counted from the last
run, else begin at the start time, else one interval after creation. Every missed tick is made up for, one by one,
unless ``catch_up`` is off: then only the latest one is. A schedule without either runs once, at once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ketch.kube.times.cron import Ticks


@dataclass(frozen=True, slots=True)
class Trigger:
    """What makes a schedule fire: ticks or an interval, within a start and an end; neither means once."""

    ticks: Ticks | None = None
    interval: timedelta | None = None
    start: datetime | None = None
    end: datetime | None = None
    catch_up: bool = True


def next_due(trigger: Trigger, created: datetime, last: datetime | None, now: datetime) -> datetime | None:
    """The moment for which the next run is to be made, which may be past; None when there is none any more."""
    created, now = _whole(created), _whole(now)
    if trigger.interval is not None:
        due = _next_period(trigger.interval, trigger.start, created, last)
    elif trigger.ticks is not None:
        due = _next_tick(trigger.ticks, trigger.start, created, last)
    else:
        return created if last is None else None
    end = trigger.end
    if due is None or (end is not None and due > end):
        return None
    if trigger.catch_up or due >= now:
        return due
    limit = now if end is None else min(now, end)
    if trigger.interval is not None:
        return limit if limit - due >= trigger.interval else due
    return trigger.ticks.latest(due, limit) if trigger.ticks is not None else due


def _next_period(
    interval: timedelta, start: datetime | None, created: datetime, last: datetime | None
) -> datetime | None:
    base = last or (None if start is not None else created)
    try:
        due = base + interval if base is not None else start
    except OverflowError:
        return None
    return max(due, start) if due is not None and start is not None else due


def _next_tick(ticks: Ticks, start: datetime | None, created: datetime, last: datetime | None) -> datetime | None:
    base = last or start or created
    return ticks.after(base if start is None else max(base, start))


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
