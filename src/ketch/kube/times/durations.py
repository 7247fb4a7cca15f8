"""Durations as Go writes them (``1h30m``, ``90s``, ``1.5h``), which upstream's settings and schedules use."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

_UNITS: Final[Mapping[str, float]] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(r"[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+)", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The duration that ``text`` means. Raises ValueError for anything else, and for more than a timedelta holds."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 1h30m or 90s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        return timedelta(seconds=-seconds if text.startswith("-") else seconds)
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
