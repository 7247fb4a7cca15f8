"""A run as text: its steps as a tree, how long each took, what there is to say of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from ketch.cli.runs.steps import (
    CACHED,
    CANCELED,
    ENDED,
    FAILED,
    LOOP,
    PENDING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    Step,
    counts,
    span_of,
)

SIGNS: Final[Mapping[str, str]] = {
    SUCCEEDED: "✓",
    CACHED: "✓",
    FAILED: "✗",
    RUNNING: "●",
    SKIPPED: "-",
    CANCELED: "✗",
    "CANCELING": "●",
}
COLOURS: Final[Mapping[str, str]] = {
    SUCCEEDED: "green",
    CACHED: "green",
    FAILED: "red",
    RUNNING: "cyan",
    CANCELED: "yellow",
    "CANCELING": "yellow",
}
"""Of a state's sign; what is not here is dim."""

NOT_YET: Final = "·"
INDENT: Final = "  "
FOLDS: Final = (8, 3, 1, 0)
"""How many iterations of a loop are shown, from roomy to narrow; the others are counted."""

_MINUTE, _HOUR = 60, 3600


class Line(NamedTuple):
    """A line of the tree. ``state`` is empty where it only counts what is not shown."""

    depth: int
    name: str
    path: str
    state: str
    seconds: str
    note: str
    is_leaf: bool = True

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells this line from an earlier one of the same step."""
        return self.path, self.state, self.note

    @property
    def sign(self) -> str:
        """The state as one character."""
        return SIGNS.get(self.state, NOT_YET if self.state else "…")

    @property
    def label(self) -> str:
        """The name where it belongs in the tree."""
        return INDENT * self.depth + self.name


def lines_of(steps: Sequence[Step], now: datetime, fold: int | None = None) -> Sequence[Line]:
    """The tree, parents before children; of a loop at most ``fold`` iterations are shown, the most urgent ones."""
    return tuple(_lines(steps, now, fold, 0))


def fitting(steps: Sequence[Step], now: datetime, room: int) -> Sequence[Line]:
    """The tree in ``room`` lines: first loops are folded, then what has ended, then the most urgent stay."""
    lines: Sequence[Line] = ()
    for fold in FOLDS:
        lines = lines_of(steps, now, fold)
        if len(lines) <= room:
            return lines
    lines = [line for line in lines if line.depth == 0 or line.state not in (SUCCEEDED, CACHED, SKIPPED)]
    if len(lines) <= room:
        return lines
    urgent = sorted(range(len(lines)), key=lambda place: (lines[place].state not in (FAILED, RUNNING), place))
    shown = [lines[place] for place in sorted(urgent[: max(0, room - 1)])]
    return [*shown, Line(0, f"{len(lines) - len(shown)} more", "", "", "", "")]


def heading(run: Mapping[str, Any], now: datetime) -> str:
    """The run in one line."""
    began, ended = span_of(run)
    words = (run.get("display_name", ""), run.get("state", PENDING), took(began, ended or now))
    return "  ".join(str(word) for word in words if word)


def width_of(lines: Sequence[Line]) -> int:
    """The width of the longest label."""
    return max((len(line.label) for line in lines), default=0)


def columns(line: Line, width: int, name: str | None = None) -> str:
    """What follows a line's sign; its label, or the ``name`` given for it, takes ``width``."""
    label = line.label if name is None else name
    return f"{label:<{width}}  {line.state:<9} {line.seconds:>7}  {line.note}".rstrip()


def took(began: datetime | None, ended: datetime | None) -> str:
    """How long that was: ``3.1 s``, ``2 m 05 s``, ``3 h 07 m``."""
    if began is None or ended is None:
        return ""
    seconds = max(0.0, (ended - began).total_seconds())
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds) // _MINUTE} m {int(seconds) % _MINUTE:02} s"
    return f"{int(seconds) // _HOUR} h {int(seconds) % _HOUR // _MINUTE:02} m"


def note(step: Step) -> str:
    """What there is to say of a step beside its state."""
    words = [f"attempt {step.attempts}"] if step.attempts > 1 else []
    if step.kind == LOOP or any(child.number is not None for child in step.below):
        done = sum(child.state in ENDED for child in step.below)
        words.append(f"{done}/{max(step.iterations or 0, len(step.below))}")
    elif step.state == FAILED and not step.below:
        words.append(step.reason)
    elif step.state == PENDING and step.error:
        words.append(step.error.rpartition("\n")[2])
    return ", ".join(words)


def _lines(steps: Sequence[Step], now: datetime, fold: int | None, depth: int) -> Iterator[Line]:
    shown, hidden = _folded(steps, fold)
    for step in shown:
        only = step.below[0] if len(step.below) == 1 and step.number is not None and not step.below[0].below else None
        if only is not None:  # an iteration of one step is one line
            yield _line(only, now, depth, f"{step.name} {only.name}")
            continue
        yield _line(step, now, depth, step.name)
        yield from _lines(step.below, now, fold, depth + 1)
    if hidden:
        yield Line(depth, f"{len(hidden)} more", f"{hidden[0].path.rpartition('/')[0]}/…", "", "", counts(hidden))


def _folded(steps: Sequence[Step], fold: int | None) -> tuple[Sequence[Step], Sequence[Step]]:
    iterations = [step for step in steps if step.number is not None]
    if fold is None or len(iterations) != len(steps) or len(steps) <= fold + 1:
        return steps, ()
    chosen = {step.id for step in sorted(steps, key=lambda step: (step.urgency, step.number or 0))[:fold]}
    return [step for step in steps if step.id in chosen], [step for step in steps if step.id not in chosen]


def _line(step: Step, now: datetime, depth: int, name: str) -> Line:
    ended = step.ended or (now if step.state not in ENDED else None)
    return Line(depth, name, step.path, step.state, took(step.began, ended), note(step), not step.below)
