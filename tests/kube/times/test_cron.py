"""Cron expressions: what they mean in UTC and in zones that change their clocks, and what is none."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.kube.times.cron import Cron, CronError, Every, parse_cron, parse_crontab

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
CAIRO = ZoneInfo("Africa/Cairo")
START = datetime(2024, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 0 9 * * *", "2026-03-01T09:00:00", "2026-03-02T09:00:00"),
        ("0 0 9 * * *", "2026-03-01T08:59:59.5", "2026-03-01T09:00:00"),
        ("0 */5 * * * *", "2026-03-01T08:57:00", "2026-03-01T09:00:00"),
        ("0 7/20 * * * *", "2026-03-01T08:47:00", "2026-03-01T09:07:00"),
        ("15,45 30 10-12 * * *", "2026-03-01T10:30:15", "2026-03-01T10:30:45"),
        ("0 0 9 ? * MON-FRI", "2026-03-06T10:00:00", "2026-03-09T09:00:00"),
        ("0 0 9 ? * 2-6", "2026-03-08T00:00:00", "2026-03-10T09:00:00"),
        ("0 0 0 1 jan,Jul ?", "2026-03-01T00:00:00", "2026-07-01T00:00:00"),
        ("0 0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 0 31 * *", "2026-03-31T00:00:00", "2026-05-31T00:00:00"),
        # both fields restrict the day: either suffices; a star in one of them leaves the other alone
        ("0 0 0 13 * FRI", "2026-03-01T00:00:00", "2026-03-06T00:00:00"),
        ("0 0 0 13 * FRI", "2026-04-11T00:00:00", "2026-04-13T00:00:00"),
        ("0 0 0 */2 * MON", "2026-03-02T00:00:00", "2026-03-09T00:00:00"),
        # five fields are the first five: a crontab's minute is read as the second
        ("30 9 * * *", "2026-03-01T09:00:00", "2026-03-01T09:09:30"),
        ("59 59 23 31 12 *", "2026-01-01T00:00:00", "2026-12-31T23:59:59"),
        ("@hourly", "2026-03-01T09:00:00", "2026-03-01T10:00:00"),
        ("@weekly", "2026-03-01T00:00:00", "2026-03-08T00:00:00"),
        ("@yearly", "2026-03-01T00:00:00", "2027-01-01T00:00:00"),
        ("@every 1h30m", "2026-03-01T09:00:00.7", "2026-03-01T10:30:00"),
        ("@every 10ms", "2026-03-01T09:00:00", "2026-03-01T09:00:01"),
    ],
)
def test_the_next_time(cron: str, after: str, expected: str):
    assert parse_cron(cron).after(at(after)) == at(expected)


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "empty"),
        ("1 * * ", "expected 5 to 6 fields, found 3"),
        ("* * * * * * *", "found 7"),
        ("60 * * * * *", r"above maximum \(59\) of second"),
        ("* * * 0 * *", r"below minimum \(1\) of day of month"),
        ("* * * * 13 *", r"above maximum \(12\) of month"),
        ("* * * * * 7", r"above maximum \(6\) of day of week"),
        ("* 10-5 * * * *", "beyond end"),
        ("* */0 * * * *", "positive"),
        ("* 1/2/3 * * * *", "slashes"),
        ("* 1-2-3 * * * *", "hyphens"),
        ("* *-3 * * * *", "cannot begin a range"),
        ("* x * * * *", "'x' is not a value of the minute field"),
        ("* -5 * * * *", "'' is not a value"),
        ("* , * * * *", "names no value"),
        ("* \u0661 * * * *", "is not a value"),
        ("0 0 0 ? jann *", "'jann' is not a value of the month field"),
        ("@daly", "unrecognized descriptor.*@daily"),
        ("@every", "unrecognized descriptor"),
        ("@every 5", "not a duration"),
        ("@every 99999999999999999999h", "too long"),
        ("TZ=Europe/Berlin 0 0 9 * * *", "found 7"),
        ("0 0 9 * * " + "1," * 600, "longer than"),
    ],
)
def test_what_is_no_cron_expression(cron: str, reason: str):
    with pytest.raises(CronError, match=reason):
        parse_cron(cron)


def test_a_time_that_never_comes():
    assert parse_cron("0 0 0 30 2 *").after(at("2026-03-01")) is None
    assert parse_cron("0 0 0 1 1 *").after(datetime(9999, 6, 1, tzinfo=UTC)) is None
    assert Every(timedelta(days=400)).after(datetime(9999, 6, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        pytest.param("0 0 9 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T07:00", "2026-03-30T07:00"], id="wall"),
        pytest.param("0 30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-30T00:30"], id="leapt over"),
        pytest.param(
            "0 30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-25T01:30"], id="comes twice"
        ),
        pytest.param("@hourly", BERLIN, "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-29T02:00"], id="each hour"),
        pytest.param(
            "0 45 1 * * *", LORD_HOWE, "2026-04-04T00:00", ["2026-04-04T14:45", "2026-04-04T15:15"], id="half"
        ),
        pytest.param("0 0 0 * * *", CAIRO, "2026-04-23T00:00", ["2026-04-24T21:00"], id="no midnight on that day"),
        pytest.param("0 0 1 * * *", CAIRO, "2026-04-23T12:00", ["2026-04-23T22:00"], id="the day begins at one"),
    ],
)
def test_zones_that_change_their_clocks(cron: str, zone: ZoneInfo, after: str, expected: list[str]):
    schedule, moment = parse_cron(cron, zone), at(after)
    for each in expected:
        found = schedule.after(moment)
        assert found == at(each)
        moment = found


@settings(deadline=None)
@given(
    st.sampled_from(["0 0 9 * * *", "7 */13 * * * *", "0 30 2 * * *", "0 0 0 13 * FRI", "@every 7m"]),
    st.integers(0, 3600 * 24 * 3650).map(lambda seconds: START + timedelta(seconds=seconds)),
    st.integers(0, 3600 * 24 * 20).map(lambda seconds: timedelta(seconds=seconds)),
)
def test_the_latest_is_where_walking_ends(cron: str, start: datetime, span: timedelta):
    schedule = parse_cron(cron, BERLIN)
    known = schedule.after(start)
    assert known is not None
    walked, limit = known, known + span
    while (following := schedule.after(walked)) is not None and following <= limit:
        walked = following
    assert schedule.latest(known, limit) == walked


@settings(deadline=None)
@given(
    st.integers(0, 3600 * 24 * 730).map(lambda seconds: START + timedelta(seconds=seconds)),
    st.sampled_from([BERLIN, LORD_HOWE, CAIRO, UTC]),
    st.tuples(st.integers(0, 59), st.integers(0, 59), st.integers(0, 23), st.integers(1, 28)),
)
def test_what_comes_matches_the_wall_clock_and_is_later(moment: datetime, zone: ZoneInfo, wanted: tuple[int, ...]):
    second, minute, hour, day = wanted
    schedule = parse_cron(f"{second} {minute} {hour} {day} * *", zone)
    assert isinstance(schedule, Cron)
    found = schedule.after(moment)
    assert found is not None
    assert found > moment
    local = found.astimezone(zone)
    assert (local.second, local.minute, local.hour, local.day) == wanted


@pytest.mark.parametrize(
    ("text", "due"),
    [
        pytest.param("*/5 * * * *", "2026-01-01T00:05:00", id="every five minutes"),
        pytest.param("30 6 * * mon", "2026-01-05T06:30:00", id="on Mondays"),
        pytest.param("@hourly", "2026-01-01T01:00:00", id="by a name"),
    ],
)
def test_a_crontab_has_no_seconds(text, due):
    start = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    assert parse_crontab(text).after(start) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["* * * *", "0 * * * * *", "", "61 * * * *"])
def test_what_is_no_crontab(text):
    with pytest.raises(CronError):
        parse_crontab(text)


def test_the_latest_is_found_in_the_midst_of_a_second():
    due = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    assert parse_crontab("*/10 * * * *").latest(due, due + timedelta(microseconds=1500)) == due
