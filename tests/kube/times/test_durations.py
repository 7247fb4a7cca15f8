"""Durations as Go writes them."""

from datetime import timedelta

import pytest

from ketch.kube.times.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400),
        ("720h", 2_592_000),
        ("90s", 90),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("0", 0),
        ("-1m", -60),
        (".5s", 0.5),
    ],
)
def test_durations(text: str, seconds: float):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "1d", "h", "1h 30m", "1h30", "٣h", "1e3s", "99999999999999999999h"])
def test_no_durations(text: str):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
