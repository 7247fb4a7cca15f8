"""States of runs and tasks by KFP's names, and the one way from a state to the next."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ketch.pipelines.records.progress import RunProgress, TaskProgress
from ketch.pipelines.records.tables import Run, Task

PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
SUCCEEDED: Final = "SUCCEEDED"
SKIPPED: Final = "SKIPPED"
FAILED: Final = "FAILED"
CANCELING: Final = "CANCELING"
CANCELED: Final = "CANCELED"
PAUSED: Final = "PAUSED"
CACHED: Final = "CACHED"
"""Of tasks only: finished with the outputs of an earlier task."""

FINAL: Final = frozenset({SUCCEEDED, SKIPPED, FAILED, CANCELED, CACHED})
TERMINABLE: Final = frozenset({PENDING, RUNNING, PAUSED})
"""Runs in these states may be terminated."""

AVAILABLE: Final = "AVAILABLE"
ARCHIVED: Final = "ARCHIVED"

ROOT: Final = "root"
DAG: Final = "dag"
LOOP: Final = "loop"
CONTAINER: Final = "container"
IMPORTER: Final = "importer"
TASK_KINDS: Final = frozenset({ROOT, DAG, LOOP, CONTAINER, IMPORTER})


def format_instant(moment: datetime) -> str:
    """RFC 3339 in UTC to the millisecond, without a fraction where there is none: steps may take less than a second."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return f"{text.removesuffix('.000')}Z"


def history_entry(state: str, now: datetime, error: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """One element of a state history, in its wire form."""
    entry: dict[str, Any] = {"update_time": format_instant(now), "state": state}
    return entry | {"error": dict(error)} if error else entry


def advance_run(run: Run | RunProgress, state: str, now: datetime, error: Mapping[str, Any] | None = None) -> None:
    """Bring ``run`` into ``state``: history, error and end follow. Nothing happens when it is in that state already."""
    if run.state == state and run.state_history:
        return
    run.state, run.error = state, error
    run.finished_at = now if state in FINAL else None
    kept = (run.resource_ttl or {}).get(state)
    run.resources_until = None if kept is None else now + timedelta(seconds=kept)
    run.state_history = [*(run.state_history or ()), history_entry(state, now, error)]


def advance_task(task: Task | TaskProgress, state: str, now: datetime, error: Mapping[str, Any] | None = None) -> None:
    """Bring ``task`` into ``state``: history, error, start and end follow."""
    if task.state == state and task.state_history:
        return
    task.state, task.error = state, error
    if state == RUNNING and task.started_at is None:
        task.started_at = now
    task.finished_at = now if state in FINAL else None
    task.state_history = [*(task.state_history or ()), history_entry(state, now, error)]
