"""Moments of states: to the millisecond, since a step may take less than a second."""

from datetime import UTC, datetime

import pytest

from ketch.pipelines.records.states import RUNNING, format_instant, history_entry


@pytest.mark.parametrize(
    ("microsecond", "expected"),
    [
        pytest.param(0, "2026-01-02T03:04:05Z", id="whole seconds have no fraction"),
        pytest.param(7_999, "2026-01-02T03:04:05.007Z", id="milliseconds, rounded down"),
        pytest.param(120_000, "2026-01-02T03:04:05.120Z", id="always three digits"),
        pytest.param(999, "2026-01-02T03:04:05Z", id="less than a millisecond is none"),
    ],
)
def test_instants_are_told_to_the_millisecond(microsecond: int, expected: str):
    moment = datetime(2026, 1, 2, 3, 4, 5, microsecond, UTC)
    assert format_instant(moment) == expected
    assert history_entry(RUNNING, moment)["update_time"] == expected
