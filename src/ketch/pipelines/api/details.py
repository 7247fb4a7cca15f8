"""A run's tasks as KFP 2 tells of them, inside the run: of thousands, what has been told is not made again.

Clients that wait for a run ask for all of it again and again. What of each task may change is read each time, which is
little; the JSON of those that have not changed since the last answer is kept for a while.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import Raw

from ketch.kube.clock import Clock
from ketch.pipelines.api.messages import (
    ArtifactList,
    ChildTask,
    ExecutorDetail,
    PipelineTaskDetail,
    RuntimeStatus,
    Status,
)
from ketch.pipelines.api.wire import instant
from ketch.pipelines.records import tables
from ketch.pipelines.records.runs import Outline, RunStore
from ketch.pipelines.records.states import CACHED, SUCCEEDED

KEPT_SECONDS: Final = 60.0
"""After so long a run that nobody asks for is forgotten."""

KEPT_BYTES: Final = 32 * 1024 * 1024
"""Of all runs together; those asked for least lately go first."""

_BATCH: Final = 250  # tasks made before others on the loop have a turn
_ENCODER: Final = msgspec.json.Encoder()

Known = tuple[Any, ...]
"""What of a task may change, as its outline tells."""


@dataclass
class _Kept:
    """A run's tasks: their JSON, as of what was known."""

    asked: float = 0.0
    size: int = 0
    tasks: dict[str, tuple[Known, bytes]] = field(default_factory=dict[str, tuple[Known, bytes]])


class TaskDetails:
    """The details of runs' tasks."""

    def __init__(self, runs: RunStore, clock: Clock) -> None:
        self._runs, self._clock = runs, clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def of(self, run_id: str) -> tuple[Raw, int]:
        """The list of the run's task details as JSON, and how many there are."""
        outline = await self._runs.outline(run_id)
        kept = self._kept.setdefault(run_id, _Kept())
        self._kept.move_to_end(run_id)
        kept.asked = self._clock.monotonic()
        stale = [task.id for task in outline if (known := kept.tasks.get(task.id)) is None or known[0] != _known(task)]
        await self._renew(kept, stale, {task.id: task for task in outline} if stale else {})
        children = _children(outline)
        told = [task for task in outline if task.id in kept.tasks]  # one may have gone since
        parts = [_with_children(kept.tasks[task.id][1], children.get(task.id)) for task in told]
        if len(kept.tasks) > len(outline):  # a retry has forgotten some
            kept.tasks = {task.id: kept.tasks[task.id] for task in told}
        self._forget()
        return Raw(b"[" + b",".join(parts) + b"]"), len(told)

    async def _renew(self, kept: _Kept, stale: Iterable[str], outline: Mapping[str, Outline]) -> None:
        left = iter(stale)
        while batch := list(islice(left, _BATCH)):
            for row in await self._runs.detailed(batch):
                made = _ENCODER.encode(_task_detail(row, ()))
                _, before = kept.tasks.get(row.id, ((), b""))
                kept.tasks[row.id] = _known(outline[row.id]), made
                kept.size += len(made) - len(before)
            await self._clock.sleep(0)

    def _forget(self) -> None:
        """What nobody has asked for lately, and what is too much."""
        now, size = self._clock.monotonic(), sum(kept.size for kept in self._kept.values())
        for run_id, kept in list(self._kept.items()):
            if now - kept.asked > KEPT_SECONDS or size > KEPT_BYTES:
                size -= kept.size
                del self._kept[run_id]


def task_details(tasks: Sequence[tables.Task]) -> Sequence[PipelineTaskDetail]:
    """The wire form of a run's tasks, each with the tasks below it."""
    children = _children(tasks)
    return tuple(_task_detail(task, children.get(task.id, ())) for task in tasks)


def status(error: Mapping[str, Any] | None) -> Status | None:
    """An error in its wire form."""
    return None if not error else Status(code=error.get("code", 0), message=error.get("message", ""))


def history(entries: Sequence[Mapping[str, Any]]) -> Sequence[RuntimeStatus]:
    """A state history in its wire form."""
    return tuple(
        RuntimeStatus(
            update_time=entry["update_time"], state=_wire_state(entry["state"]), error=status(entry.get("error"))
        )
        for entry in entries
    )


def _known(task: Outline) -> Known:
    return tuple(task)


def _children(tasks: Iterable[tables.Task | Outline]) -> Mapping[str, list[ChildTask]]:
    children: dict[str, list[ChildTask]] = {}
    for task in tasks:
        if task.parent_id is not None:
            children.setdefault(task.parent_id, []).append(ChildTask(task_id=task.id, pod_name=task.pod_name))
    return children


def _with_children(detail: bytes, children: Sequence[ChildTask] | None) -> bytes:
    """The JSON of a detail, which is never empty, with the tasks below it: its last field."""
    return detail if children is None else detail[:-1] + b',"child_tasks":' + _ENCODER.encode(children) + b"}"


def _task_detail(task: Any, children: Sequence[ChildTask]) -> PipelineTaskDetail:
    pods = None
    if task.pod_name or task.failed_pods:
        pods = ExecutorDetail(main_job=task.pod_name, failed_main_jobs=tuple(task.failed_pods))
    return PipelineTaskDetail(
        run_id=task.run_id,
        task_id=task.id,
        display_name=task.display_name,
        create_time=instant(task.created_at),
        start_time=instant(task.started_at),
        end_time=instant(task.finished_at),
        executor_detail=pods,
        state=_wire_state(task.state),
        error=status(task.error),
        inputs=_artifact_lists(task.inputs),
        outputs=_artifact_lists(task.outputs),
        parent_task_id=task.parent_id or "",
        state_history=history(task.state_history),
        pod_name=task.pod_name,
        child_tasks=tuple(children),
    )


def _wire_state(state: str) -> str:
    return SUCCEEDED if state == CACHED else state  # RuntimeState has no name for it


def _artifact_lists(values: Mapping[str, Any]) -> Mapping[str, ArtifactList] | None:
    artifacts: Mapping[str, Sequence[str]] = values.get("artifacts") or {}
    return {key: ArtifactList(artifact_ids=tuple(ids)) for key, ids in artifacts.items()} or None
