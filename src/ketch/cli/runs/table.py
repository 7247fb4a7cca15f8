"""Tables and ages as text. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

GAP: Final = "   "
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> Sequence[str]:
    """The lines of a table in columns; where ``width`` is too narrow for it, the widest column gives way."""
    every = [headings, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(headings))]
    if width is not None:
        surplus = sum(widths) + len(GAP) * (len(widths) - 1) - width
        widest = widths.index(max(widths))
        widths[widest] = max(len(headings[widest]), widths[widest] - max(0, surplus))
    return [GAP.join(_cell(text, room) for text, room in zip(row, widths, strict=True)).rstrip() for row in every]


def age(since: datetime | None, now: datetime) -> str:
    """How long ago that was, in its largest unit."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size} {unit} ago"


def _cell(text: str, room: int) -> str:
    text = text.replace("\n", " ")
    return f"{text:<{room}}" if len(text) <= room else f"{text[: room - 1]}…"
