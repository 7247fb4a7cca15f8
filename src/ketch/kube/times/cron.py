"""Cron expressions, as robfig/cron reads them.

Six fields ``second minute hour day-of-month month day-of-week``, the last one optional (robfig/cron v1, which is what
Kubeflow Pipelines documents: a crontab's five fields are therefore read with the first one as *seconds*); or a
crontab's five fields as everybody else reads them (``parse_crontab``, for CronJobs). Either may be ``@daily`` and its
relatives, or ``@every 1h30m``.

Times are wall-clock times of a zone. A time that a change to summer time leaps over does not come on that day; one
that comes twice when the clock is put back fires twice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from ketch.kube.times.durations import parse_duration

_MONTHS: Final[Mapping[str, int]] = {
    name: number + 1
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    )
}
_DAYS: Final[Mapping[str, int]] = {
    name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
}
_DESCRIPTORS: Final[Mapping[str, str]] = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_EVERY: Final = "@every "
_HORIZON_YEARS: Final = 5  # what does not come within them, does not come
_SECOND = timedelta(seconds=1)
_NUMBER = re.compile(r"\d+", re.ASCII)
_LONGEST: Final = 1000  # characters


class CronError(ValueError):
    """Not a cron expression; the message says where it goes wrong."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    name: str
    low: int
    high: int
    names: Mapping[str, int]


_FIELDS: Final[Sequence[_Bounds]] = (
    _Bounds("second", 0, 59, {}),
    _Bounds("minute", 0, 59, {}),
    _Bounds("hour", 0, 23, {}),
    _Bounds("day of month", 1, 31, {}),
    _Bounds("month", 1, 12, _MONTHS),
    _Bounds("day of week", 0, 6, _DAYS),
)
_FEWEST: Final = len(_FIELDS) - 1
_CRONTAB: Final = 5


@dataclass(frozen=True, slots=True)
class _Field:
    values: frozenset[int]
    any: bool


@dataclass(frozen=True, slots=True)
class Every:
    """A constant delay."""

    delay: timedelta

    def after(self, moment: datetime) -> datetime | None:
        """The next time after ``moment``."""
        try:
            return moment.replace(microsecond=0) + self.delay
        except OverflowError:
            return None

    def latest(self, known: datetime, limit: datetime) -> datetime:
        """The last time that is not after ``limit``; ``known`` is an earlier one."""
        return known + (limit - known) // self.delay * self.delay


@dataclass(frozen=True, slots=True)
class Cron:
    """Times of the wall clock of ``zone``."""

    seconds: _Field
    minutes: _Field
    hours: _Field
    days: _Field
    months: _Field
    weekdays: _Field
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after ``moment``, in UTC; None when there is none within five years."""
        try:
            start = moment.astimezone(UTC).replace(microsecond=0) + _SECOND
            day = start.astimezone(self.zone).date()
            last_year = day.year + _HORIZON_YEARS
            while day.year <= last_year:
                if day.month not in self.months.values:
                    day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                    continue
                if self._is_on(day) and (found := self._within(day, start)):
                    return found
                day += timedelta(days=1)
        except (OverflowError, ValueError):
            return None  # the calendar ends
        return None

    def latest(self, known: datetime, limit: datetime) -> datetime:
        """The last time that is not after ``limit``; ``known`` is an earlier one.

        By halving, because there may be millions in between: there always is one in (low, limit], and never in
        (high, limit].
        """
        limit = limit.replace(microsecond=0)  # times are whole seconds, and so must be what is halved
        low, high, found = known - _SECOND, limit, known
        while high - low > _SECOND:
            middle = (low + (high - low) / 2).replace(microsecond=0)
            tick = self.after(middle)
            if tick is not None and tick <= limit:
                low, found = middle, tick
            else:
                high = middle
        return found

    def _is_on(self, day: date) -> bool:
        by_month = day.day in self.days.values
        by_week = day.isoweekday() % 7 in self.weekdays.values
        # As in every crontab: two fields that both restrict the day add up.
        return by_month and by_week if self.days.any or self.weekdays.any else by_month or by_week

    def _within(self, day: date, start: datetime) -> datetime | None:
        """The first time at or after ``start`` on that day of the zone; steps of real time, read on its clock."""
        moment = max(start, datetime.combine(day, time(), self.zone).astimezone(UTC))
        while (local := moment.astimezone(self.zone)).date() == day:
            if local.hour not in self.hours.values:
                moment += timedelta(hours=1) - timedelta(minutes=local.minute, seconds=local.second)
            elif local.minute not in self.minutes.values:
                moment += timedelta(seconds=60 - local.second)
            elif local.second not in self.seconds.values:
                moment += _SECOND
            else:
                return moment
        return None


Ticks = Cron | Every


def parse_cron(text: str, zone: tzinfo = UTC) -> Ticks:
    """The schedule that ``text`` means. Raises CronError."""
    if len(text) > _LONGEST:
        raise CronError(f"longer than {_LONGEST} characters")
    if text.startswith("@"):
        return _described(text, zone)
    parts = text.split()
    if not parts:
        raise CronError("empty spec string")
    if not _FEWEST <= len(parts) <= len(_FIELDS):
        raise CronError(f"expected {_FEWEST} to {len(_FIELDS)} fields, found {len(parts)}: {text}")
    parts += ["*"] * (len(_FIELDS) - len(parts))
    second, minute, hour, day, month, weekday = map(_field, parts, _FIELDS)
    return Cron(second, minute, hour, day, month, weekday, zone)


def parse_crontab(text: str, zone: tzinfo = UTC) -> Ticks:
    """The schedule that ``minute hour day-of-month month day-of-week`` means. Raises CronError."""
    if text.startswith("@"):
        return parse_cron(text, zone)
    parts = text.split()
    if len(parts) != _CRONTAB:
        raise CronError(f"expected exactly {_CRONTAB} fields, found {len(parts)}: {text}")
    return parse_cron(f"0 {text}", zone)


def _described(text: str, zone: tzinfo) -> Ticks:
    if (spec := _DESCRIPTORS.get(text)) is not None:
        return parse_cron(spec, zone)
    if not text.startswith(_EVERY):
        raise CronError(f"unrecognized descriptor: {text}; known are {', '.join(_DESCRIPTORS)} and @every <duration>")
    try:
        delay = parse_duration(text.removeprefix(_EVERY).strip())
    except ValueError as error:
        raise CronError(str(error)) from None
    return Every(max(_SECOND, timedelta(seconds=delay // _SECOND)))


def _field(text: str, bounds: _Bounds) -> _Field:
    values: set[int] = set()
    unrestricted = False
    for part in filter(None, text.split(",")):
        span, star = _range(part, bounds)
        values.update(span)
        unrestricted = unrestricted or star
    if not values:
        raise CronError(f"the {bounds.name} field {text!r} names no value")
    return _Field(frozenset(values), unrestricted)


def _range(text: str, bounds: _Bounds) -> tuple[range, bool]:
    """``*``, ``?``, ``5``, ``1-5``, each with ``/step``; whether it stands for any value."""
    span, *steps = text.split("/")
    ends = span.split("-")
    if len(steps) > 1:
        raise CronError(f"too many slashes: {text}")
    if len(ends) > 2:
        raise CronError(f"too many hyphens: {text}")
    star = ends[0] in ("*", "?")
    if star and len(ends) > 1:
        raise CronError(f"{ends[0]} cannot begin a range: {text}")
    low = bounds.low if star else _value(ends[0], bounds)
    high = bounds.high if star or (len(ends) == 1 and steps) else _value(ends[-1], bounds)
    step = _number(steps[0], bounds) if steps else 1
    if low < bounds.low:
        raise CronError(f"beginning of range ({low}) below minimum ({bounds.low}) of {bounds.name}: {text}")
    if high > bounds.high:
        raise CronError(f"end of range ({high}) above maximum ({bounds.high}) of {bounds.name}: {text}")
    if low > high:
        raise CronError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")
    return range(low, high + 1, step), star


def _value(text: str, bounds: _Bounds) -> int:
    named = bounds.names.get(text.lower())
    return _number(text, bounds) if named is None else named


def _number(text: str, bounds: _Bounds) -> int:
    if not _NUMBER.fullmatch(text):
        raise CronError(f"{text!r} is not a value of the {bounds.name} field")
    return int(text)
