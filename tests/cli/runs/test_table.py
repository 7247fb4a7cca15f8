"""Tables: columns, ages, narrow terminals."""

from datetime import UTC, datetime, timedelta

import pytest

from ketch.cli.runs.listing import rows
from ketch.cli.runs.table import age, table

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_columns_are_as_wide_as_their_widest_cell():
    assert table(("A", "LONGER"), [("xyz", "1"), ("", "2")]) == ["A     LONGER", "xyz   1", "      2"]


def test_the_widest_column_gives_way_to_a_narrow_terminal():
    lines = table(("ID", "NAME"), [("1", "a rather long name of a run")], width=20)
    assert lines == ["ID   NAME", "1    a rather long …"]
    assert max(map(len, lines)) <= 20


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s ago"), (59, "59 s ago"), (61, "1 m ago"), (7300, "2 h ago"), (200000, "2 d ago")]
)
def test_ages_are_in_their_largest_unit(seconds, text):
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_runs_are_rows():
    run = {
        "run_id": "0123456789abcdef",
        "display_name": "digits",
        "state": "FAILED",
        "experiment_id": "e1",
        "created_at": "2026-01-01T23:59:00Z",
        "finished_at": "2026-01-01T23:59:04Z",
        "error": {"message": "step failed\nbecause"},
    }
    assert rows([run], NOW, {}, wide=False) == [
        "RUN        STATE      NAME     CREATED   TOOK",
        "01234567   ✗ FAILED   digits   1 m ago   4.0 s",
    ]
    wide = rows([run], NOW, {"e1": "mine"}, wide=True)[1]
    assert wide.startswith("0123456789abcdef")
    assert wide.endswith("mine         step failed")
