"""What runs have read and made, as pages: artifacts, their links to tasks, the tasks with their values.

Tasks are those that the engine drives and those that clients report beside them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, case, func, select, tuple_

from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.database import Database
from ketch.metadata.lineage import KEY, Context, Execution
from ketch.metadata.tables import OUTPUT, Artifact, ArtifactTask
from ketch.pipelines.errors import NotFound
from ketch.pipelines.records.listing import Field, Listing, ListQuery, Page, Position, Text, Time, merged
from ketch.pipelines.records.tables import ReportedTask, Run, Task

AnyTask = Task | ReportedTask
TASK: Final = "pipelines.task"
RUN: Final = "pipelines.run"
"""What executions and contexts of pipelines are called in lineage."""

_BATCH: Final = 500  # ids in one IN list; SQLite's parameters are bounded

TYPES: Final[Mapping[str, str]] = {
    "system.Artifact": "Artifact",
    "system.Model": "Model",
    "system.Dataset": "Dataset",
    "system.HTML": "HTML",
    "system.Markdown": "Markdown",
    "system.Metrics": "Metric",
    "system.ClassificationMetrics": "ClassificationMetric",
    "system.SlicedClassificationMetrics": "SlicedClassificationMetric",
}
"""The API's names of the types it knows, by schema title; any other type is an Artifact."""

OTHER_TYPE: Final = "Artifact"

_ARTIFACT_FIELDS: Mapping[str, Field] = {
    "id": Text(Artifact.id),
    "artifact_id": Text(Artifact.id),
    "name": Text(Artifact.name),
    "type": Text(case(dict(TYPES), value=Artifact.type, else_=OTHER_TYPE)),
    "uri": Text(Artifact.uri),
    "description": Text(Artifact.description),
    "namespace": Text(Artifact.namespace),
    "created_at": Time(Artifact.created_at),
}
_ARTIFACTS = Listing(Artifact, Artifact.id, _ARTIFACT_FIELDS)

_TASK_FIELDS: Mapping[str, Field] = {
    "id": Text(Task.id),
    "task_id": Text(Task.id),
    "name": Text(Task.name),
    "display_name": Text(Task.display_name),
    "state": Text(Task.state),
    "parent_task_id": Text(func.coalesce(Task.parent_id, "")),
    "created_at": Time(Task.created_at),
    "create_time": Time(Task.created_at),
    "end_time": Time(Task.finished_at, nullable=True),
}
_TASKS = Listing(Task, Task.id, _TASK_FIELDS)
_REPORTED = Listing(
    ReportedTask,
    ReportedTask.id,
    {
        "id": Text(ReportedTask.id),
        "task_id": Text(ReportedTask.id),
        "name": Text(ReportedTask.name),
        "display_name": Text(ReportedTask.display_name),
        "state": Text(ReportedTask.state),
        "parent_task_id": Text(ReportedTask.parent_id),
        "created_at": Time(ReportedTask.created_at),
        "create_time": Time(ReportedTask.created_at),
        "end_time": Time(ReportedTask.finished_at, nullable=True),
    },
)


@dataclass(frozen=True, slots=True)
class LinkScope:
    """Which links: those that meet every condition that is not empty."""

    task_ids: Collection[str] = ()
    run_ids: Collection[str] = ()
    artifact_ids: Collection[str] = ()
    role: str = ""

    def conditions(self) -> Sequence[ColumnElement[bool]]:
        """The scope as SQL."""
        chosen = (
            (ArtifactTask.task_id, self.task_ids),
            (ArtifactTask.run_id, self.run_ids),
            (ArtifactTask.artifact_id, self.artifact_ids),
        )
        conditions: list[ColumnElement[bool]] = [column.in_(ids) for column, ids in chosen if ids]
        return [*conditions, ArtifactTask.role == self.role] if self.role else conditions


class Producer(NamedTuple):
    """The task that an artifact came from within a run."""

    task_name: str
    iteration: int | None


class Child(NamedTuple):
    """A task below another one; reported tasks have no pod of ours."""

    id: str
    pod_name: str


class LineageStore:
    """Pages of artifacts, links and tasks."""

    def __init__(self, database: Database) -> None:
        self._database, self._artifacts = database, ArtifactStore(database)

    async def artifact(self, artifact_id: str) -> Artifact:
        """Raises NotFound."""
        found = await self._artifacts.get((artifact_id,))
        if artifact_id not in found:
            raise NotFound(f"Artifact {artifact_id} not found")
        return found[artifact_id]

    async def artifacts(self, query: ListQuery) -> Page[Artifact]:
        """One page of all artifacts."""
        async with self._database.session() as session:
            return await _ARTIFACTS.page(session, query)

    async def links(self, query: ListQuery, scope: LinkScope) -> Page[ArtifactTask]:
        """One page of links, a task's links together; they have no other order and no filter."""
        conditions = scope.conditions()
        rows = select(ArtifactTask).where(*conditions).order_by(*KEY).limit(query.size + 1)
        if query.after is not None:
            task_id, role, key = query.after.id.split("/", 2)
            rows = rows.where(tuple_(*KEY) > tuple_(task_id, role, key, query.after.value))
        async with self._database.session() as session:
            found = (await session.scalars(rows)).all()
            count = select(func.count()).select_from(ArtifactTask).where(*conditions)
            total = await session.scalar(count) or 0
        shown = found[: query.size]
        end = _place(shown[-1]) if len(found) > query.size else None
        return Page(shown, total, end)

    async def tasks(self, run_id: str, query: ListQuery) -> Page[AnyTask]:
        """One page of a run's tasks. Raises NotFound."""
        async with self._database.session() as session:
            if await session.scalar(select(Run.id).where(Run.id == run_id)) is None:
                raise NotFound(f"Run {run_id} not found")
            driven, reported = Task.run_id == run_id, ReportedTask.run_id == run_id
            return await merged(session, query, (_TASKS, driven), (_REPORTED, reported))

    async def reported(self, run_ids: Collection[str]) -> Sequence[ReportedTask]:
        """The tasks of these runs that clients have reported, in the order in which they were."""
        query = select(ReportedTask).where(ReportedTask.run_id.in_(run_ids))
        async with self._database.session() as session:
            return (await session.scalars(query.order_by(ReportedTask.created_at, ReportedTask.id))).all()

    async def task(self, run_id: str, task_id: str) -> AnyTask:
        """Raises NotFound."""
        async with self._database.session() as session:
            for kind in (Task, ReportedTask):
                found = await session.get(kind, task_id)
                if found is not None and found.run_id == run_id:
                    return found
        raise NotFound(f"Run {run_id} has no task {task_id}")

    async def children(self, tasks: Collection[AnyTask]) -> Mapping[str, Sequence[Child]]:
        """The tasks directly below each of these, in the order in which they were created."""
        run_ids = {task.run_id for task in tasks}
        below: dict[str, list[Child]] = {}
        async with self._database.session() as session:
            for batch in _batches([task.id for task in tasks]):
                query = select(Task.parent_id, Task.id, Task.pod_name).where(Task.parent_id.in_(batch))
                for parent_id, task_id, pod_name in await session.execute(query.order_by(Task.created_at, Task.id)):
                    below.setdefault(parent_id or "", []).append(Child(task_id, pod_name))
            reported = select(ReportedTask.parent_id, ReportedTask.id).where(ReportedTask.run_id.in_(run_ids))
            ordered = reported.order_by(ReportedTask.created_at, ReportedTask.id)
            for parent_id, task_id in await session.execute(ordered):
                below.setdefault(parent_id, []).append(Child(task_id, ""))
        return below

    async def values(self, tasks: Collection[AnyTask]) -> Mapping[str, Artifact]:
        """The artifacts that these tasks read and made, by id; those of reported tasks are in ``links_of`` too."""
        driven = [task for task in tasks if isinstance(task, Task)]
        return await self._artifacts.get(
            artifact_id for task in driven for values in (task.inputs, task.outputs) for artifact_id in _ids(values)
        )

    async def links_of(self, tasks: Collection[ReportedTask]) -> Mapping[str, Sequence[tuple[ArtifactTask, Artifact]]]:
        """The links of reported tasks with their artifacts, by task."""
        links: dict[str, list[tuple[ArtifactTask, Artifact]]] = {}
        async with self._database.session() as session:
            for batch in _batches([task.id for task in tasks]):
                query = (
                    select(ArtifactTask, Artifact)
                    .join(Artifact, Artifact.id == ArtifactTask.artifact_id)
                    .where(ArtifactTask.task_id.in_(batch))
                    .order_by(*KEY)
                )
                for link, artifact in await session.execute(query):
                    links.setdefault(link.task_id, []).append((link, artifact))
        return links

    async def producers(self, links: Collection[ArtifactTask]) -> Mapping[tuple[str, str], Producer]:
        """Who made the links' artifacts, by run and artifact; none where another run did."""
        query = (
            select(ArtifactTask.run_id, ArtifactTask.artifact_id, Task.name, Task.iteration)
            .join(Task, Task.id == ArtifactTask.task_id)
            .where(
                ArtifactTask.role == OUTPUT,
                ArtifactTask.artifact_id.in_({link.artifact_id for link in links}),
                ArtifactTask.run_id.in_({link.run_id for link in links}),
            )
            .order_by(Task.created_at.desc())  # the first to make it is written last
        )
        async with self._database.session() as session:
            return {
                (run_id, artifact_id): Producer(name, iteration)
                for run_id, artifact_id, name, iteration in await session.execute(query)
            }


class PipelineDomain:
    """Runs and their tasks as contexts and executions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def executions(self, ids: Collection[str]) -> Mapping[str, Execution]:
        """The tasks among ``ids``."""
        found: dict[str, Execution] = {}
        async with self._database.session() as session:
            for batch in _batches(ids):
                for kind in (Task, ReportedTask):
                    columns = (kind.id, kind.run_id, kind.display_name, kind.state, kind.created_at, kind.finished_at)
                    for row in await session.execute(select(*columns).where(kind.id.in_(batch))):
                        found[row.id] = Execution(
                            row.id, row.run_id, TASK, row.display_name, row.state, row.created_at, row.finished_at
                        )
        return found

    async def contexts(self, ids: Collection[str]) -> Mapping[str, Context]:
        """The runs among ``ids``."""
        found: dict[str, Context] = {}
        async with self._database.session() as session:
            for batch in _batches(ids):
                query = select(Run.id, Run.display_name, Run.state, Run.created_at).where(Run.id.in_(batch))
                for row in await session.execute(query):
                    found[row.id] = Context(row.id, RUN, row.display_name, row.state, row.created_at)
        return found


def _batches(ids: Collection[str]) -> Iterable[Sequence[str]]:
    ordered = sorted(ids)
    return (ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH))


def _ids(values: Mapping[str, Any]) -> Iterable[str]:
    lists: Mapping[str, Sequence[str]] = values.get("artifacts") or {}
    return chain.from_iterable(lists.values())


def _place(link: ArtifactTask) -> Position:
    return Position(link.position, f"{link.task_id}/{link.role}/{link.key}")
