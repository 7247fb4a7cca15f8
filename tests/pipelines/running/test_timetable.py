"""Moments: in order, replaced, struck; never more work than entries."""

from datetime import UTC, datetime, timedelta

from ketch.pipelines.running.timetable import Timetable

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_what_is_due_stays_so_until_it_is_struck() -> None:
    table = Timetable()
    table.enter("late", at(3))
    table.enter("soon", at(1))
    assert (table.earliest(), list(table.ripe(at(0)))) == (at(1), [])
    assert list(table.ripe(at(2))) == list(table.ripe(at(2))) == ["soon"]
    table.strike("soon")
    table.strike("unknown")
    assert (table.earliest(), list(table.ripe(at(3)))) == (at(3), ["late"])
    assert "late" in table
    assert "soon" not in table
    assert table.get("soon") is None


def test_a_moment_that_was_replaced_does_not_count() -> None:
    table = Timetable()
    table.enter("task", at(1))
    table.enter("task", at(5))
    assert (table.earliest(), list(table.ripe(at(4)))) == (at(5), [])
    table.enter("task", at(2))
    assert list(table.ripe(at(9))) == ["task"]
    table.strike("task")
    assert table.earliest() is None
