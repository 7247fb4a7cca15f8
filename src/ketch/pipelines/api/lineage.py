"""ArtifactService, and the tasks of RunService: what runs have read and made. Read only, the engine alone writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import BaseRoute

from ketch.metadata import tables as metadata
from ketch.metadata.tables import INPUT, OUTPUT
from ketch.pipelines import tables
from ketch.pipelines.api.http import route
from ketch.pipelines.api.lineage_messages import (
    IO_TYPES,
    Artifact,
    ArtifactTask,
    InputOutputs,
    IOArtifact,
    IOParameter,
    IOProducer,
    ListArtifactsResponse,
    ListArtifactTasksResponse,
    ListTasksResponse,
    PipelineTask,
    StatusMetadata,
    TaskPod,
    TaskStatus,
    TypeAttributes,
)
from ketch.pipelines.api.listing import list_query, next_token
from ketch.pipelines.api.messages import ChildTask, Status
from ketch.pipelines.api.wire import UNSET_TIME, instant, timestamp
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.lineage import OTHER_TYPE, TYPES, LineageStore, LinkScope, Producer
from ketch.pipelines.states import (
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

MAX_IDS: Final = 100
"""Ids in one list call: each is a variable of the query."""

_EXECUTOR: Final = "EXECUTOR"
_TASK_OUTPUT_INPUT: Final = "TASK_OUTPUT_INPUT"
_IO_TYPE_OF_ROLE: Final[Mapping[str, str]] = {INPUT: _TASK_OUTPUT_INPUT, OUTPUT: OUTPUT}
_ROLE_OF_IO_TYPE: Final = {io_type: role for role, io_type in _IO_TYPE_OF_ROLE.items()}
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


def artifact_message(row: metadata.Artifact) -> Artifact:
    """The wire form of an artifact."""
    return Artifact(
        artifact_id=row.id,
        name=row.name,
        description=row.description,
        type=TYPES.get(row.type, OTHER_TYPE),
        uri=row.uri,
        metadata=row.properties or None,
        created_at=timestamp(row.created_at),
        namespace=row.namespace,
    )


def link_message(row: metadata.ArtifactTask, producer: Producer | None) -> ArtifactTask:
    """The wire form of a link."""
    return ArtifactTask(
        id=f"{row.task_id}/{row.role}/{row.key}/{row.position}",
        artifact_id=row.artifact_id,
        run_id=row.run_id,
        task_id=row.task_id,
        type=_IO_TYPE_OF_ROLE[row.role],
        producer=None
        if producer is None
        else IOProducer(task_name=producer.task_name, iteration=_integer(producer.iteration)),
        key=row.key,
    )


def task_message(
    row: tables.Task, children: Sequence[tables.Task], artifacts: Mapping[str, metadata.Artifact]
) -> PipelineTask:
    """The wire form of a task with its values."""
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
        child_tasks=tuple([ChildTask(task_id=child.id, pod_name=child.pod_name) for child in children]),
        inputs=_values(row.inputs, artifacts, ("", _TASK_OUTPUT_INPUT)),
        outputs=_values(row.outputs, artifacts, (OUTPUT, OUTPUT)),
    )


def _integer(number: int | None) -> str:
    return "" if number is None else str(number)


def _status(entry: Mapping[str, Any]) -> TaskStatus:
    error = entry.get("error")
    return TaskStatus(
        update_time=entry["update_time"],
        state=_STATES.get(entry["state"], ""),
        error=None if not error else Status(code=error.get("code", 0), message=error.get("message", "")),
    )


def _values(
    values: Mapping[str, Any], artifacts: Mapping[str, metadata.Artifact], types: tuple[str, str]
) -> InputOutputs | None:
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


@dataclass(frozen=True)
class LineageService:
    """The services' methods."""

    lineage: LineageStore

    def routes(self) -> Sequence[BaseRoute]:
        """Where they are."""
        return (
            route("GET", "/artifacts", self._artifacts),
            route("GET", "/artifacts/{artifact_id}", self._artifact),
            route("GET", "/artifact_tasks", self._links),
            route("GET", "/runs/{run_id}/tasks", self._tasks),
            route("GET", "/runs/{run_id}/tasks/{task_id}", self._task),
        )

    async def _artifact(self, request: Request) -> Artifact:
        return artifact_message(await self.lineage.artifact(request.path_params["artifact_id"]))

    async def _artifacts(self, request: Request) -> ListArtifactsResponse:
        query = list_query(request.query_params, "artifacts")
        page = await self.lineage.artifacts(query)
        return ListArtifactsResponse(
            artifacts=tuple([artifact_message(row) for row in page.rows]),
            total_size=page.total,
            next_page_token=next_token(page, query, "artifacts"),
        )

    async def _links(self, request: Request) -> ListArtifactTasksResponse:
        query = list_query(request.query_params, "artifact_tasks")
        if query.predicates or request.query_params.get("sort_by"):
            raise InvalidInput("artifact_tasks are not sorted or filtered: name task_ids, run_ids, artifact_ids, type")
        io_type = _io_type(request.query_params.get("type", ""))
        role = _ROLE_OF_IO_TYPE.get(io_type, "")
        if io_type and not role:
            return ListArtifactTasksResponse()
        page = await self.lineage.links(query, _link_scope(request, role))
        producers = await self.lineage.producers(page.rows)
        return ListArtifactTasksResponse(
            artifact_tasks=tuple(
                [link_message(row, producers.get((row.run_id, row.artifact_id))) for row in page.rows]
            ),
            total_size=page.total,
            next_page_token=next_token(page, query, "artifact_tasks"),
        )

    async def _tasks(self, request: Request) -> ListTasksResponse:
        query = list_query(request.query_params, "tasks")
        page = await self.lineage.tasks(request.path_params["run_id"], query)
        return ListTasksResponse(
            tasks=await self._messages(page.rows),
            total_size=page.total,
            next_page_token=next_token(page, query, "tasks"),
        )

    async def _task(self, request: Request) -> PipelineTask:
        row = await self.lineage.task(request.path_params["run_id"], request.path_params["task_id"])
        (message,) = await self._messages((row,))
        return message

    async def _messages(self, rows: Sequence[tables.Task]) -> Sequence[PipelineTask]:
        children = await self.lineage.children([row.id for row in rows])
        artifacts = await self.lineage.values(rows)
        return tuple([task_message(row, children.get(row.id, ()), artifacts) for row in rows])


def _link_scope(request: Request, role: str) -> LinkScope:
    parameters = request.query_params
    chosen = {name: parameters.getlist(name) for name in ("task_ids", "run_ids", "artifact_ids")}
    count = sum(map(len, chosen.values()))
    if not 0 < count <= MAX_IDS:
        raise InvalidInput(f"name at least one of task_ids, run_ids, artifact_ids, and at most {MAX_IDS} ids")
    return LinkScope(**chosen, role=role)


def _io_type(text: str) -> str:
    """An IOType by name or number; empty when unset. Raises InvalidInput."""
    name = IO_TYPES.get(int(text), "") if text.isdecimal() else text
    if name not in ("", *IO_TYPES.values()) or (text and not name):
        raise InvalidInput(f"type: {text!r} is none of {', '.join(IO_TYPES.values())}")
    return "" if name == IO_TYPES[0] else name
