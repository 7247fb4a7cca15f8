"""The tasks of RunService as KFP 3 has them: those that the engine drives, and those that clients report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request

from ketch.metadata import tables as metadata
from ketch.metadata.database import Database
from ketch.metadata.tables import INPUT, OUTPUT
from ketch.pipelines.api.artifacts import artifact_message
from ketch.pipelines.api.http import Operation, route
from ketch.pipelines.api.lineage_messages import (
    FindCachedTaskRequest,
    FindCachedTaskResponse,
    InputOutputs,
    IOArtifact,
    IOParameter,
    ListTasksResponse,
    PipelineTask,
    StatusMetadata,
    TaskPod,
    TaskStatus,
    TypeAttributes,
    UpdateTasksBulkRequest,
    UpdateTasksBulkResponse,
)
from ketch.pipelines.api.listing import LISTED, list_query, next_token
from ketch.pipelines.api.messages import ChildTask, Status
from ketch.pipelines.api.wire import UNSET_TIME, instant
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.records import tables
from ketch.pipelines.records.lineage import AnyTask, Child, LineageStore
from ketch.pipelines.records.states import (
    CACHED,
    CANCELED,
    CANCELING,
    CONTAINER,
    DAG,
    FAILED,
    IMPORTER,
    LOOP,
    ROOT,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
)
from ketch.pipelines.reporting import ReportStore, TaskReport, cached_task

MAX_UPDATES: Final = 500
"""Tasks in one batch of changes."""

_SCOPE: Final = "tasks"
_EXECUTOR: Final = "EXECUTOR"
_TASK_OUTPUT_INPUT: Final = "TASK_OUTPUT_INPUT"
_TASK_TYPES: Final[Mapping[str, str]] = {
    ROOT: "ROOT",
    DAG: "DAG",
    LOOP: "LOOP",
    CONTAINER: "RUNTIME",
    IMPORTER: "IMPORTER",
}
_STATES: Final[Mapping[str, str]] = {
    RUNNING: RUNNING,
    SUCCEEDED: SUCCEEDED,
    SKIPPED: SKIPPED,
    FAILED: FAILED,
    CANCELING: FAILED,
    CANCELED: FAILED,
    CACHED: CACHED,
}
"""TaskState's names; a task that has not started yet has none."""

_REPORTED_FIELDS: Final = ("pods", "status_metadata", "type", "type_attributes", "inputs", "outputs")
"""What a reported task keeps as its client said it."""

Artifacts = Mapping[str, metadata.Artifact]
Links = Sequence[tuple[metadata.ArtifactTask, metadata.Artifact]]


def task_message(row: tables.Task, children: Sequence[Child], artifacts: Artifacts) -> PipelineTask:
    """The wire form of a task that the engine drives, with its values."""
    pods = [name for name in (*row.failed_pods, row.pod_name) if name]
    attributes = TypeAttributes(iteration_index=_integer(row.iteration), iteration_count=_integer(row.iteration_count))
    message = (row.error or {}).get("message", "")
    return PipelineTask(
        task_id=row.id,
        run_id=row.run_id,
        name=row.name,
        display_name=row.display_name,
        pods=tuple([TaskPod(name=name, type=_EXECUTOR) for name in pods]),
        cache_fingerprint=row.cache_key,
        create_time=instant(row.created_at),
        end_time=instant(row.finished_at) or UNSET_TIME,
        state=_STATES.get(row.state, ""),
        status_metadata=StatusMetadata(message=message) if message else None,
        state_history=tuple([_status(entry) for entry in row.state_history]),
        type=_TASK_TYPES.get(row.kind, ""),
        type_attributes=attributes if attributes != TypeAttributes() else None,
        parent_task_id=row.parent_id or "",
        child_tasks=_children(children),
        inputs=_values(row.inputs, artifacts, ("", _TASK_OUTPUT_INPUT)),
        outputs=_values(row.outputs, artifacts, (OUTPUT, OUTPUT)),
    )


def reported_message(row: tables.ReportedTask, children: Sequence[Child], links: Links) -> PipelineTask:
    """The wire form of a task that a client reported, with the artifacts that are linked to it."""
    told = msgspec.convert(row.content, PipelineTask)
    return msgspec.structs.replace(
        told,
        task_id=row.id,
        run_id=row.run_id,
        name=row.name,
        display_name=row.display_name,
        cache_fingerprint=row.cache_fingerprint,
        create_time=instant(row.created_at),
        end_time=instant(row.finished_at) or UNSET_TIME,
        state=row.state,
        state_history=tuple([_status(entry) for entry in row.state_history]),
        parent_task_id=row.parent_id,
        child_tasks=_children(children),
        inputs=_with_artifacts(told.inputs, links, INPUT, _TASK_OUTPUT_INPUT),
        outputs=_with_artifacts(told.outputs, links, OUTPUT, OUTPUT),
    )


def _children(children: Sequence[Child]) -> Sequence[ChildTask]:
    return tuple([ChildTask(task_id=child.id, pod_name=child.pod_name) for child in children])


def _integer(number: int | None) -> str:
    return "" if number is None else str(number)


def _status(entry: Mapping[str, Any]) -> TaskStatus:
    error = entry.get("error")
    return TaskStatus(
        update_time=entry["update_time"],
        state=_STATES.get(entry["state"], ""),
        error=None if not error else Status(code=error.get("code", 0), message=error.get("message", "")),
    )


def _values(values: Mapping[str, Any], artifacts: Artifacts, types: tuple[str, str]) -> InputOutputs | None:
    """``values`` with the io types of parameters and of artifacts."""
    of_parameters, of_artifacts = types
    parameters: Mapping[str, Any] = values.get("parameters") or {}
    lists: Mapping[str, Sequence[str]] = values.get("artifacts") or {}
    if not parameters and not lists:
        return None
    return InputOutputs(
        parameters=tuple(
            [IOParameter(value=value, type=of_parameters, parameter_key=key) for key, value in parameters.items()]
        ),
        artifacts=tuple(
            [
                IOArtifact(
                    artifacts=tuple([artifact_message(artifacts[each]) for each in ids if each in artifacts]),
                    type=of_artifacts,
                    artifact_key=key,
                )
                for key, ids in lists.items()
            ]
        ),
    )


def _with_artifacts(told: InputOutputs | None, links: Links, role: str, io_type: str) -> InputOutputs | None:
    by_key: dict[str, list[metadata.Artifact]] = {}
    for link, artifact in links:
        if link.role == role:
            by_key.setdefault(link.key, []).append(artifact)
    if told is None and not by_key:
        return None
    artifacts = [
        IOArtifact(artifacts=tuple(map(artifact_message, several)), type=io_type, artifact_key=key)
        for key, several in by_key.items()
    ]
    return InputOutputs(parameters=told.parameters if told else (), artifacts=tuple(artifacts))


class TaskMessages:
    """Tasks in their wire form, with everything that is to be looked up for it."""

    def __init__(self, lineage: LineageStore) -> None:
        self._lineage = lineage

    async def of(self, rows: Sequence[AnyTask]) -> Sequence[PipelineTask]:
        """The messages, in the order of the rows."""
        children, artifacts = await self._lineage.children(rows), await self._lineage.values(rows)
        links = await self._lineage.links_of([row for row in rows if isinstance(row, tables.ReportedTask)])
        return tuple(
            [
                task_message(row, children.get(row.id, ()), artifacts)
                if isinstance(row, tables.Task)
                else reported_message(row, children.get(row.id, ()), links.get(row.id, ()))
                for row in rows
            ]
        )

    async def reported(self, run_ids: Sequence[str]) -> Sequence[tables.ReportedTask]:
        """The tasks of these runs that clients have reported."""
        return await self._lineage.reported(run_ids)

    async def output(self, task: tables.Task, name: str) -> metadata.Artifact | None:
        """The artifact that the task made as its output ``name``."""
        lists: Mapping[str, Sequence[str]] = task.outputs.get("artifacts") or {}
        artifacts = await self._lineage.values((task,))
        return next((artifacts[each] for each in lists.get(name, ()) if each in artifacts), None)


@dataclass(frozen=True)
class TaskService:
    """The methods of RunService that are about tasks."""

    database: Database
    lineage: LineageStore
    reports: ReportStore

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        several = "/runs/{run_id}/tasks"
        one = f"{several}/{{task_id}}"
        return (
            route("GET", several, self._list, LISTED),
            route("POST", several, self._create),
            route("POST", f"{several}:batchUpdate", self._update_several),
            route("GET", one, self._get),
            route("PATCH", one, self._update),
            route("POST", "/tasks:findCached", self._find_cached),
        )

    async def _list(self, request: Request) -> ListTasksResponse:
        query = list_query(request.query_params, _SCOPE)
        page = await self.lineage.tasks(request.path_params["run_id"], query)
        return ListTasksResponse(
            tasks=await self._messages(page.rows),
            total_size=page.total,
            next_page_token=next_token(page, query, _SCOPE),
        )

    async def _get(self, request: Request) -> PipelineTask:
        row = await self.lineage.task(request.path_params["run_id"], request.path_params["task_id"])
        (message,) = await self._messages((row,))
        return message

    async def _create(self, request: Request, wanted: PipelineTask) -> PipelineTask:
        run_id = request.path_params["run_id"]
        (message,) = await self._messages((await self.reports.create_task(run_id, _report(wanted, run_id)),))
        return message

    async def _update(self, request: Request, change: PipelineTask) -> PipelineTask:
        run_id, task_id = request.path_params["run_id"], request.path_params["task_id"]
        rows = await self.reports.update_tasks(run_id, {task_id: _report(change, run_id, task_id)})
        (message,) = await self._messages(rows)
        return message

    async def _update_several(self, request: Request, changes: UpdateTasksBulkRequest) -> UpdateTasksBulkResponse:
        run_id, tasks = request.path_params["run_id"], changes.tasks or {}
        if not 0 < len(tasks) <= MAX_UPDATES:
            raise InvalidInput(f"tasks: expected 1 to {MAX_UPDATES} tasks by id, given are {len(tasks)}")
        reports = {task_id: _report(change, run_id, task_id) for task_id, change in tasks.items()}
        messages = await self._messages(await self.reports.update_tasks(run_id, reports))
        return UpdateTasksBulkResponse(tasks={message.task_id: message for message in messages})

    async def _find_cached(self, wanted: FindCachedTaskRequest) -> FindCachedTaskResponse:
        if not wanted.cache_fingerprint:
            raise InvalidInput("cache_fingerprint: is missing")
        found = await cached_task(self.database, wanted.cache_fingerprint)
        return FindCachedTaskResponse(task=None if found is None else (await self._messages((found,)))[0])

    async def _messages(self, rows: Sequence[AnyTask]) -> Sequence[PipelineTask]:
        return await TaskMessages(self.lineage).of(rows)


def _report(message: PipelineTask, run_id: str, task_id: str = "") -> TaskReport:
    """What a client says of a task. Raises InvalidInput."""
    if message.run_id not in ("", run_id):
        raise InvalidInput(f"run_id: {message.run_id} is not the run in the path")
    if message.task_id not in ("", task_id):
        raise InvalidInput("task_id: is given by the server, and cannot be changed")
    if message.type == _TASK_TYPES[ROOT]:
        raise InvalidInput("type: a run has its ROOT already")
    if any(values is not None and values.artifacts for values in (message.inputs, message.outputs)):
        raise InvalidInput("inputs, outputs: artifacts are linked to a task by artifact_tasks")
    content: Mapping[str, Any] = msgspec.to_builtins(message)
    return TaskReport(
        message.name,
        message.display_name,
        message.parent_task_id,
        message.state,
        message.cache_fingerprint,
        {name: content[name] for name in _REPORTED_FIELDS if name in content},
    )
