"""A run as text: its steps as a tree, how long each took, why it failed. Pure; reads what KFP's API says of runs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

Task = Mapping[str, Any]

SIGNS: Final[Mapping[str, str]] = {
    "SUCCEEDED": "✓",
    "FAILED": "✗",
    "RUNNING": "●",
    "SKIPPED": "-",
    "CANCELED": "✗",
    "CANCELING": "●",
}
COLOURS: Final[Mapping[str, str]] = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "RUNNING": "cyan",
    "CANCELED": "yellow",
    "CANCELING": "yellow",
}
"""Of a state's sign; what is not here is dim."""

_PENDING: Final = "PENDING"
_CACHED: Final = "cached"
_NOT_YET: Final = "·"
_UNSET_TIME: Final = "1970"
INDENT: Final = "  "


class Line(NamedTuple):
    """A task in the tree. ``key`` changes when there is something new to say of it."""

    task_id: str
    depth: int
    path: str
    name: str
    state: str
    seconds: str
    note: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells this line from an earlier one of the same task."""
        return self.task_id, self.state, self.note

    @property
    def sign(self) -> str:
        """The state as one character."""
        return SIGNS.get(self.state, _NOT_YET)


def tree(run: Mapping[str, Any], now: datetime) -> Sequence[Line]:
    """The run's tasks below its root, parents before children, siblings in the order in which they began."""
    tasks = sorted(_tasks(run), key=lambda task: task.get("create_time", ""))
    known = {task.get("task_id", "") for task in tasks}
    children: dict[str, list[Task]] = {}
    for task in tasks:
        parent = task.get("parent_task_id", "")
        children.setdefault(parent if parent in known else "", []).append(task)
    top = children.get("", [])
    if len(top) == 1 and top[0].get("task_id", "") in children:  # the root says what the run says
        top = children[top[0]["task_id"]]
    return tuple(_lines(top, children, now, ""))


def progress_lines(run: Mapping[str, Any], now: datetime) -> Sequence[str]:
    """The run and the tree of its tasks, one line each."""
    lines = tree(run, now)
    width = width_of(lines)
    return (heading(run, now), *(f"{INDENT}{line.sign} {columns(line, width)}" for line in lines))


def heading(run: Mapping[str, Any], now: datetime) -> str:
    """The run in one line."""
    words = (run.get("display_name", ""), run.get("state", _PENDING), _seconds(_span(run), now))
    return "  ".join(word for word in words if word)


def width_of(lines: Sequence[Line]) -> int:
    """The width of the longest name with its indentation."""
    return max((len(INDENT) * line.depth + len(line.name) for line in lines), default=0)


def columns(line: Line, width: int) -> str:
    """What follows a line's sign; names take ``width``."""
    name = INDENT * line.depth + line.name
    return f"{name:<{width}}  {line.state:<9} {line.seconds:>7}  {line.note}".rstrip()


def failure_text(run: Mapping[str, Any]) -> str:
    """Why the run failed: the error of every failed step, else the run's own."""
    tasks = _tasks(run)
    above = {task.get("parent_task_id") for task in tasks if task.get("state") == "FAILED"}
    errors = [
        f"{task.get('display_name')}: {_message(task)}"
        for task in tasks
        if task.get("state") == "FAILED" and task.get("task_id") not in above - {None} and _message(task)
    ]
    return "\n".join(errors) or _message(run)


def _tasks(run: Mapping[str, Any]) -> Sequence[Task]:
    return run.get("run_details", {}).get("task_details", [])


def _message(item: Mapping[str, Any]) -> str:
    error: Mapping[str, Any] = item.get("error") or {}
    return str(error.get("message", "")).strip()


def _lines(
    tasks: Sequence[Task], children: Mapping[str, Sequence[Task]], now: datetime, above: str, depth: int = 0
) -> Iterator[Line]:
    for position, task in enumerate(tasks):
        state, identity = task.get("state", _PENDING), task.get("task_id", "")
        name = task.get("display_name", "")
        if above and name == above.rpartition("/")[2]:
            name = f"[{position}]"  # a loop's iterations carry the loop's name
        path = f"{above}/{name}" if above else name
        below = children.get(identity, ())
        span = (task.get("start_time"), task.get("end_time"))
        yield Line(identity, depth, path, name, state, _seconds(span, now), "" if below else _note(task))
        yield from _lines(below, children, now, path, depth + 1)


def _note(task: Task) -> str:
    """Of a step: why it waits, or that it had no need to run."""
    state = task.get("state", _PENDING)
    if state == _PENDING:
        return _message(task).rpartition("\n")[2]
    ran = _moment(task.get("start_time")) or task.get("pod_name")
    return "" if state != "SUCCEEDED" or ran else _CACHED


def _span(run: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """When the run began and ended: its root task knows it to the millisecond."""
    for task in _tasks(run):
        if not task.get("parent_task_id") and task.get("child_tasks"):
            return task.get("start_time"), task.get("end_time")
    return run.get("created_at"), run.get("finished_at")


def _moment(text: str | None) -> datetime | None:
    return None if not text or text.startswith(_UNSET_TIME) else datetime.fromisoformat(text)


def _seconds(span: tuple[str | None, str | None], now: datetime) -> str:
    started, ended = map(_moment, span)
    if started is None:
        return ""
    return f"{max(0.0, ((ended or now) - started).total_seconds()):.1f} s"
