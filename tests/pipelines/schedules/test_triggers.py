"""When the next run is due."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ketch.kube.times.cron import parse_cron
from ketch.pipelines.schedules.triggers import Trigger, next_due

CREATED = datetime(2030, 1, 1, 10, 30, 0, 250_000, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2030-01-{text}").replace(tzinfo=UTC)


HOURLY, EVERY_HOUR = Trigger(ticks=parse_cron("@hourly")), Trigger(interval=HOUR)
JUMPING, JUMPING_PERIOD = replace(HOURLY, catch_up=False), replace(EVERY_HOUR, catch_up=False)
NONE = None


@pytest.mark.parametrize(
    ("trigger", "last", "now", "expected"),
    [
        pytest.param(Trigger(), NONE, "01T10:30", "01T10:30", id="no trigger: at creation"),
        pytest.param(Trigger(), "01T10:30", "01T11:30", NONE, id="no trigger: once"),
        pytest.param(HOURLY, NONE, "01T10:30", "01T11:00", id="cron: after creation"),
        pytest.param(HOURLY, "01T11:00", "01T11:00", "01T12:00", id="cron: after the last"),
        pytest.param(HOURLY, "01T11:00", "01T20:30", "01T12:00", id="cron: each one missed"),
        pytest.param(JUMPING, "01T11:00", "01T20:30", "01T20:00", id="cron: only the latest"),
        pytest.param(JUMPING, "01T11:00", "01T12:00", "01T12:00", id="cron: due just now"),
        pytest.param(JUMPING, "01T11:00", "01T11:30", "01T12:00", id="cron: not due"),
        pytest.param(
            replace(HOURLY, start=at("03T00:30")), NONE, "01T10:30", "03T01:00", id="cron: never before start"
        ),
        pytest.param(
            replace(HOURLY, start=at("01T00:30")), NONE, "01T10:30", "01T01:00", id="cron: a start in the past"
        ),
        pytest.param(replace(HOURLY, start=at("03T00:30")), "01T11:00", "01T11:30", "03T01:00", id="cron: start after"),
        pytest.param(
            replace(HOURLY, end=at("01T12:00")), "01T11:00", "01T13:00", "01T12:00", id="cron: the end counts"
        ),
        pytest.param(replace(HOURLY, end=at("01T12:00")), "01T12:00", "01T13:00", NONE, id="cron: over"),
        pytest.param(
            replace(JUMPING, end=at("01T14:30")), "01T11:00", "01T20:00", "01T14:00", id="cron: latest in time"
        ),
        pytest.param(EVERY_HOUR, NONE, "01T10:30", "01T11:30", id="period: one after creation"),
        pytest.param(EVERY_HOUR, "01T11:30", "01T20:00", "01T12:30", id="period: each one missed"),
        pytest.param(JUMPING_PERIOD, "01T11:30", "01T20:00", "01T20:00", id="period: counts anew"),
        pytest.param(JUMPING_PERIOD, "01T11:30", "01T12:45", "01T12:30", id="period: one is not missed"),
        pytest.param(
            replace(EVERY_HOUR, start=at("02T00:00")), NONE, "01T10:30", "02T00:00", id="period: at its start"
        ),
        pytest.param(replace(EVERY_HOUR, start=at("01T08:00")), NONE, "01T10:30", "01T08:00", id="period: past start"),
        pytest.param(replace(EVERY_HOUR, start=at("02T00:00")), "01T11:00", "01T11:30", "02T00:00", id="period: later"),
        pytest.param(
            replace(EVERY_HOUR, end=at("01T11:00")), NONE, "01T10:30", NONE, id="period: over before it began"
        ),
        pytest.param(
            replace(JUMPING_PERIOD, end=at("01T15:00")),
            "01T11:00",
            "01T20:00",
            "01T15:00",
            id="period: not after its end",
        ),
        pytest.param(
            Trigger(ticks=parse_cron("@hourly"), interval=MINUTE), "01T11:00", "01T11:00", "01T11:01", id="both: period"
        ),
        pytest.param(Trigger(interval=timedelta.max), NONE, "01T10:30", NONE, id="period: beyond the calendar"),
    ],
)
def test_when_the_next_run_is_due(trigger: Trigger, last: str | None, now: str, expected: str | None):
    found = next_due(trigger, CREATED, at(last) if last else None, at(now))
    assert found == (at(expected) if expected else None)


def test_a_long_pause_of_a_fast_schedule_is_jumped_over():
    trigger = Trigger(ticks=parse_cron("* * * * * *"), catch_up=False)
    now = CREATED + 400 * DAY
    assert next_due(trigger, CREATED, None, now) == now.replace(microsecond=0)
