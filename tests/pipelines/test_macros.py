"""Text macros: what they stand for, and what stays as it is."""

from datetime import UTC, datetime

import pytest

from ketch.pipelines.macros import MacroValues, expand

PLAIN = MacroValues("run-1", datetime(2026, 1, 31, 14, 5, 6, tzinfo=UTC))
SCHEDULED = MacroValues("run-1", PLAIN.now, datetime(2026, 1, 31, tzinfo=UTC), 7)


@pytest.mark.parametrize(
    ("text", "plain", "scheduled"),
    [
        ("a [[RunUUID]] b [[RunUUID]]", "a run-1 b run-1", "a run-1 b run-1"),
        ("[[CurrentTime]]", "20260131140506", "20260131140506"),
        ("[[CurrentTime.2006-01-02T15:04:05]]", "2026-01-31T14:05:06", "2026-01-31T14:05:06"),
        ("{{$.currentTime.strftime('%Y/%m/%d')}}", "2026/01/31", "2026/01/31"),
        ("{{$.currentTime.strftime('%s')}}", "1769868306", "1769868306"),
        ("[[ScheduledTime]]", "[[ScheduledTime]]", "20260131000000"),
        ("[[ScheduledTime.Jan 02]]", "[[ScheduledTime.Jan 02]]", "Jan 31"),
        ("{{$.scheduledTime.strftime('%H')}}", "{{$.scheduledTime.strftime('%H')}}", "00"),
        ("[[Index]]", "[[Index]]", "7"),
        ("[[Other]] {{$}}", "[[Other]] {{$}}", "[[Other]] {{$}}"),
    ],
)
def test_macros(text: str, plain: str, scheduled: str):
    assert (expand(text, PLAIN), expand(text, SCHEDULED)) == (plain, scheduled)


def test_only_texts_have_macros():
    assert expand(["[[RunUUID]]"], PLAIN) == ["[[RunUUID]]"]
