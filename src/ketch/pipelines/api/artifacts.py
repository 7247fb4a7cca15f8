"""ArtifactService: what runs have read and made, what clients add to it, and lineage as a graph.

Lineage is Ketch's own: upstream has no call for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from starlette.requests import Request

from ketch.metadata import tables as metadata
from ketch.metadata.lineage import Direction, Graph, Lineage, Start
from ketch.metadata.tables import INPUT, OUTPUT
from ketch.pipelines.api.http import Operation, Query, route
from ketch.pipelines.api.lineage_messages import (
    Artifact,
    ArtifactTask,
    CreateArtifactRequest,
    CreateArtifactsBulkRequest,
    CreateArtifactsBulkResponse,
    CreateArtifactTaskRequest,
    CreateArtifactTasksBulkRequest,
    CreateArtifactTasksBulkResponse,
    IOProducer,
    IOType,
    LineageContext,
    LineageExecution,
    LineageGraph,
    ListArtifactsResponse,
    ListArtifactTasksResponse,
)
from ketch.pipelines.api.listing import LISTED, list_query, next_token
from ketch.pipelines.api.wire import Enum, integer_value, query_value, timestamp
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.records.lineage import OTHER_TYPE, TYPES, LineageStore, LinkScope, Producer
from ketch.pipelines.reporting import ArtifactReport, LinkReport, ReportStore

MAX_IDS: Final = 100
"""Ids in one list call: each is a variable of the query."""

MAX_BATCH: Final = 500
"""Artifacts or links that are made by one call."""

MAX_DEPTH: Final = 1_000
_ARTIFACTS, _LINKS = "artifacts", "artifact_tasks"
_IO_TYPE_OF_ROLE: Final[Mapping[str, str]] = {INPUT: "TASK_OUTPUT_INPUT", OUTPUT: OUTPUT}
_ROLE_OF_IO_TYPE: Final = {io_type: role for role, io_type in _IO_TYPE_OF_ROLE.items()}
_OUTPUT_TYPES: Final = frozenset({"OUTPUT", "ITERATOR_OUTPUT", "ONE_OF_OUTPUT", "TASK_FINAL_STATUS_OUTPUT"})
_SCHEMA_TITLES: Final[Mapping[str, str]] = {name: title for title, name in TYPES.items()}
_IDS: Final = ("task_ids", "run_ids", "artifact_ids")
_DIRECTION_TYPE = Annotated[str, Enum({0: "BOTH", 1: "UPSTREAM", 2: "DOWNSTREAM"})]


def artifact_message(row: metadata.Artifact) -> Artifact:
    """The wire form of an artifact."""
    return Artifact(
        artifact_id=row.id,
        name=row.name,
        description=row.description,
        type=TYPES.get(row.type, OTHER_TYPE),
        uri=row.uri,
        metadata=row.properties or None,
        number_value=row.number_value,
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
        else IOProducer(
            task_name=producer.task_name, iteration="" if producer.iteration is None else str(producer.iteration)
        ),
        key=row.key,
    )


@dataclass(frozen=True)
class ArtifactService:
    """The service's methods."""

    lineage: LineageStore
    reports: ReportStore
    graph: Lineage

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        start = [Query(name, repeated=True) for name in _IDS]
        paged = LISTED[:2]
        searched = (
            *start,
            Query("direction", "BOTH unless told.", _DIRECTION_TYPE),
            Query("depth", "Tasks between the start and what is found; all unless told.", int),
        )
        return (
            route("GET", "/artifacts", self._list, (*LISTED, Query("namespace"))),
            route("POST", "/artifacts", self._create),
            route("POST", "/artifacts:batchCreate", self._create_several),
            route("GET", "/artifacts/{artifact_id}", self._get),
            route("GET", "/artifact_tasks", self._links, (*paged, *start, Query("type", kind=IOType))),
            route("POST", "/artifact_tasks", self._link),
            route("POST", "/artifact_tasks:batchCreate", self._link_several),
            route("GET", "/lineage", self._search, searched),
        )

    async def _get(self, request: Request) -> Artifact:
        return artifact_message(await self.lineage.artifact(request.path_params["artifact_id"]))

    async def _list(self, request: Request) -> ListArtifactsResponse:
        query = list_query(request.query_params, _ARTIFACTS)
        page = await self.lineage.artifacts(query)
        return ListArtifactsResponse(
            artifacts=tuple([artifact_message(row) for row in page.rows]),
            total_size=page.total,
            next_page_token=next_token(page, query, _ARTIFACTS),
        )

    async def _create(self, wanted: CreateArtifactRequest) -> Artifact:
        (row,) = await self.reports.create_artifacts((_artifact_report(wanted),))
        return artifact_message(row)

    async def _create_several(self, wanted: CreateArtifactsBulkRequest) -> CreateArtifactsBulkResponse:
        _check_batch("artifacts", len(wanted.artifacts))
        rows = await self.reports.create_artifacts([_artifact_report(each) for each in wanted.artifacts])
        return CreateArtifactsBulkResponse(artifacts=tuple(map(artifact_message, rows)))

    async def _link(self, wanted: CreateArtifactTaskRequest) -> ArtifactTask:
        if wanted.artifact_task is None:
            raise InvalidInput("artifact_task: is missing")
        (message,) = await self._linked((wanted.artifact_task,))
        return message

    async def _link_several(self, wanted: CreateArtifactTasksBulkRequest) -> CreateArtifactTasksBulkResponse:
        _check_batch("artifact_tasks", len(wanted.artifact_tasks))
        return CreateArtifactTasksBulkResponse(artifact_tasks=await self._linked(wanted.artifact_tasks))

    async def _linked(self, wanted: Sequence[ArtifactTask]) -> Sequence[ArtifactTask]:
        return await self._link_messages(await self.reports.create_links([_link_report(each) for each in wanted]))

    async def _link_messages(self, rows: Sequence[metadata.ArtifactTask]) -> Sequence[ArtifactTask]:
        producers = await self.lineage.producers(rows)
        return tuple([link_message(row, producers.get((row.run_id, row.artifact_id))) for row in rows])

    async def _links(self, request: Request) -> ListArtifactTasksResponse:
        query = list_query(request.query_params, _LINKS)
        if query.predicates or request.query_params.get("sort_by"):
            raise InvalidInput("artifact_tasks are not sorted or filtered: name task_ids, run_ids, artifact_ids, type")
        io_type = query_value(request.query_params, "type", IOType)
        role = _ROLE_OF_IO_TYPE.get(io_type, "")
        if io_type and not role:
            return ListArtifactTasksResponse()
        page = await self.lineage.links(query, LinkScope(**_chosen(request), role=role))
        return ListArtifactTasksResponse(
            artifact_tasks=await self._link_messages(page.rows),
            total_size=page.total,
            next_page_token=next_token(page, query, _LINKS),
        )

    async def _search(self, request: Request) -> LineageGraph:
        chosen = _chosen(request)
        start = Start(chosen["artifact_ids"], chosen["task_ids"], chosen["run_ids"])
        direction = query_value(request.query_params, "direction", _DIRECTION_TYPE) or "BOTH"
        depth = integer_value(request.query_params, "depth", range(MAX_DEPTH + 1))
        graph = await self.graph.search(start, Direction[direction], depth)
        return graph_message(graph)


def graph_message(graph: Graph) -> LineageGraph:
    """The wire form of lineage."""
    return LineageGraph(
        artifacts=tuple(map(artifact_message, graph.artifacts.values())),
        executions=tuple(
            [
                LineageExecution(
                    id=each.id,
                    context_id=each.context_id,
                    kind=each.kind,
                    name=each.name,
                    state=each.state,
                    created_at=timestamp(each.created_at),
                    finished_at=timestamp(each.finished_at),
                )
                for each in graph.executions.values()
            ]
        ),
        contexts=tuple(
            [
                LineageContext(
                    id=each.id, kind=each.kind, name=each.name, state=each.state, created_at=timestamp(each.created_at)
                )
                for each in graph.contexts.values()
            ]
        ),
        events=tuple([link_message(event, None) for event in graph.events]),
        truncated=not graph.complete,
    )


def _chosen(request: Request) -> Mapping[str, Sequence[str]]:
    chosen = {name: request.query_params.getlist(name) for name in _IDS}
    if not 0 < sum(map(len, chosen.values())) <= MAX_IDS:
        raise InvalidInput(f"name at least one of {', '.join(_IDS)}, and at most {MAX_IDS} ids")
    return chosen


def _check_batch(name: str, size: int) -> None:
    if not 0 < size <= MAX_BATCH:
        raise InvalidInput(f"{name}: expected 1 to {MAX_BATCH} of them, given are {size}")


def _artifact_report(wanted: CreateArtifactRequest) -> ArtifactReport:
    artifact = wanted.artifact
    if artifact is None:
        raise InvalidInput("artifact: is missing")
    if not artifact.type:
        raise InvalidInput(f"artifact.type: is missing; it is one of {', '.join(_SCHEMA_TITLES)}")
    if wanted.type and wanted.type not in _OUTPUT_TYPES:
        raise InvalidInput(f"type: {wanted.type} is no output's; an artifact is made as one")
    return ArtifactReport(
        name=artifact.name,
        type=_SCHEMA_TITLES[artifact.type],
        uri=artifact.uri,
        description=artifact.description,
        properties=artifact.metadata or {},
        number_value=artifact.number_value,
        namespace=artifact.namespace,
        run_id=wanted.run_id,
        task_id=wanted.task_id,
        key=wanted.producer_key,
    )


def _link_report(wanted: ArtifactTask) -> LinkReport:
    for name in ("artifact_id", "run_id", "task_id", "type", "key"):
        if not getattr(wanted, name):
            raise InvalidInput(f"artifact_task.{name}: is missing")
    role = OUTPUT if wanted.type in _OUTPUT_TYPES else INPUT
    return LinkReport(wanted.artifact_id, wanted.run_id, wanted.task_id, role, wanted.key)
