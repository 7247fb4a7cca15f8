"""What runs have read and made, as pages: artifacts, their links to tasks, the tasks with their values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, case, func, select, tuple_

from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.database import Database
from ketch.metadata.tables import OUTPUT, Artifact, ArtifactTask
from ketch.pipelines.errors import NotFound
from ketch.pipelines.listing import Field, Listing, ListQuery, Page, Position, Text, Time
from ketch.pipelines.tables import Run, Task

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
_LINK_ORDER = (ArtifactTask.task_id, ArtifactTask.role, ArtifactTask.key, ArtifactTask.position)


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
        rows = select(ArtifactTask).where(*conditions).order_by(*_LINK_ORDER).limit(query.size + 1)
        if query.after is not None:
            task_id, role, key = query.after.id.split("/", 2)
            rows = rows.where(tuple_(*_LINK_ORDER) > tuple_(task_id, role, key, query.after.value))
        async with self._database.session() as session:
            found = (await session.scalars(rows)).all()
            count = select(func.count()).select_from(ArtifactTask).where(*conditions)
            total = await session.scalar(count) or 0
        shown = found[: query.size]
        end = _place(shown[-1]) if len(found) > query.size else None
        return Page(shown, total, end)

    async def tasks(self, run_id: str, query: ListQuery) -> Page[Task]:
        """One page of a run's tasks. Raises NotFound."""
        async with self._database.session() as session:
            if await session.scalar(select(Run.id).where(Run.id == run_id)) is None:
                raise NotFound(f"Run {run_id} not found")
            return await _TASKS.page(session, query, Task.run_id == run_id)

    async def task(self, run_id: str, task_id: str) -> Task:
        """Raises NotFound."""
        async with self._database.session() as session:
            found = await session.get(Task, task_id)
        if found is None or found.run_id != run_id:
            raise NotFound(f"Run {run_id} has no task {task_id}")
        return found

    async def children(self, task_ids: Collection[str]) -> Mapping[str, Sequence[Task]]:
        """The tasks directly below each of these, in the order in which they were created."""
        query = select(Task).where(Task.parent_id.in_(task_ids)).order_by(Task.created_at, Task.id)
        below: dict[str, list[Task]] = {}
        async with self._database.session() as session:
            for task in await session.scalars(query):
                below.setdefault(task.parent_id or "", []).append(task)
        return below

    async def values(self, tasks: Collection[Task]) -> Mapping[str, Artifact]:
        """The artifacts that these tasks read and made, by id."""
        return await self._artifacts.get(
            artifact_id for task in tasks for values in (task.inputs, task.outputs) for artifact_id in _ids(values)
        )

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


def _ids(values: Mapping[str, Any]) -> Iterable[str]:
    lists: Mapping[str, Sequence[str]] = values.get("artifacts") or {}
    return chain.from_iterable(lists.values())


def _place(link: ArtifactTask) -> Position:
    return Position(link.position, f"{link.task_id}/{link.role}/{link.key}")
