"""Runs and their tasks in the database: the queries that the API and the engine share.

The engine reads with ``get`` and ``tasks``, decides, and writes everything that one decision changes inside one
``change`` block, so that a kill at any moment leaves either all of it or nothing.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Select,
    bindparam,
    cast,
    delete,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy import Text as SQLText
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from ketch.kube.meta import ObjectKey
from ketch.metadata.database import Database
from ketch.metadata.tables import OUTPUT, Artifact, ArtifactTask
from ketch.pipelines.errors import FailedPrecondition, InvalidInput, NotFound
from ketch.pipelines.records.listing import Field, Listing, ListQuery, Number, Page, Text, Time
from ketch.pipelines.records.states import ARCHIVED, AVAILABLE, FINAL
from ketch.pipelines.records.tables import Experiment, ReportedTask, Run, Task

_FIELDS: Mapping[str, Field] = {
    "id": Text(Run.id),
    "run_id": Text(Run.id),
    "name": Text(Run.display_name),
    "display_name": Text(Run.display_name),
    "created_at": Time(Run.created_at),
    "finished_at": Time(Run.finished_at, nullable=True),
    "scheduled_at": Time(Run.scheduled_at, nullable=True),
    "description": Text(Run.description),
    "storage_state": Text(Run.storage_state),
    "state": Text(Run.state),
    "state_history": Text(cast(Run.state_history, SQLText)),
    "status": Text(Run.state),
    "namespace": Text(Run.namespace),
    "experiment_id": Text(Run.experiment_id),
    "pipeline_id": Text(func.coalesce(Run.pipeline_id, "")),
    "pipeline_version_id": Text(func.coalesce(Run.pipeline_version_id, "")),
    "recurring_run_id": Text(func.coalesce(Run.recurring_run_id, "")),
}
METRIC: Final = "metric:"
"""Runs are sorted by ``metric:<name>``: the largest of the values that a run's system.Metrics have under that name."""

_METRIC_NAME: Final = re.compile(r"[\w./+-]{1,128}")


def _metric(key: str) -> Field | None:
    if not key.startswith(METRIC):
        return None
    name = key.removeprefix(METRIC)
    if not _METRIC_NAME.fullmatch(name):
        raise InvalidInput(f"sort_by: {name!r} is no metric's name")
    made = (ArtifactTask.run_id == Run.id, ArtifactTask.role == OUTPUT, Artifact.type == "system.Metrics")
    values = select(func.max(cast(Artifact.properties.expression[name].as_string(), Double)))
    found = values.join(ArtifactTask, ArtifactTask.artifact_id == Artifact.id).where(*made).correlate(Run)
    return Number(found.scalar_subquery())


class Outline(NamedTuple):
    """What of a task may change, and where it belongs; any change of its row changes this. ``history`` is how long its
    state history is, ``error`` and ``started`` are as the database has them."""

    id: str
    parent_id: str | None
    pod_name: str
    state: str
    attempt: int
    started: int | None
    error: str | None
    history: int


_OUTLINE = (
    select(
        Task.id,
        Task.parent_id,
        Task.pod_name,
        Task.state,
        Task.attempt,
        type_coerce(Task.started_at, BigInteger),
        cast(Task.error, SQLText),
        func.length(cast(Task.state_history, SQLText)),
    )
    .where(Task.run_id == bindparam("run"))
    .order_by(Task.created_at, Task.id)
)
_DETAILED: Select[*tuple[Any, ...]] = select(
    Task.id,
    Task.run_id,
    Task.display_name,
    Task.parent_id,
    Task.created_at,
    Task.started_at,
    Task.finished_at,
    Task.pod_name,
    Task.failed_pods,
    Task.state,
    Task.error,
    Task.inputs,
    Task.outputs,
    Task.state_history,
)
_UNREAD = (defer(Run.pipeline_spec), defer(Run.platform_spec))
_LISTING = Listing(Run, Run.id, _FIELDS, options=_UNREAD, named=_metric)


@dataclass(frozen=True, slots=True)
class RunChange:
    """An open transaction on one run. Change ``run``'s and loaded tasks' attributes, ``session.add`` new rows."""

    session: AsyncSession
    run: Run

    async def tasks(self) -> Sequence[Task]:
        """The run's tasks, attached: changed attributes are written when the block ends."""
        return (await self.session.scalars(_tasks_of(self.run.id))).all()


class RunStore:
    """Runs and tasks as rows; what it returns outside of ``change`` is detached and for reading."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def get(self, run_id: str) -> Run | None:
        """The run, or None."""
        async with self.database.session() as session:
            return await session.get(Run, run_id)

    async def head(self, run_id: str) -> Run | None:
        """The run without its specification, or None."""
        async with self.database.session() as session:
            return await session.get(Run, run_id, options=_UNREAD)

    async def outline(self, run_id: str) -> Sequence[Outline]:
        """What may change of all tasks of a run, in the order in which they were created."""

        def work(connection: Connection) -> Sequence[Outline]:
            return [Outline(*row) for row in connection.execute(_OUTLINE, {"run": run_id})]

        return await self.database.read(work)

    async def detailed(self, task_ids: Sequence[str]) -> Sequence[Any]:
        """What there is to tell of these tasks, a few hundred at most; as rows with a Task's names."""
        query = _DETAILED.where(Task.id.in_(task_ids))
        return await self.database.read(lambda connection: connection.execute(query).all())

    async def exists(self, run_id: str) -> bool:
        """Whether there is such a run."""
        async with self.database.session() as session:
            return await session.scalar(select(Run.id).where(Run.id == run_id)) is not None

    async def tasks(self, run_id: str) -> Sequence[Task]:
        """All tasks of a run in the order in which they were created."""
        async with self.database.session() as session:
            return (await session.scalars(_tasks_of(run_id))).all()

    async def tasks_of_all(self, run_ids: Sequence[str], limit: int) -> Mapping[str, Sequence[Task]] | None:
        """The tasks of several runs, by run; None when they are more than ``limit``."""
        query = select(Task).where(Task.run_id.in_(run_ids)).order_by(Task.created_at, Task.id).limit(limit + 1)
        async with self.database.session() as session:
            rows = (await session.scalars(query)).all()
        if len(rows) > limit:
            return None
        found: dict[str, list[Task]] = {}
        for row in rows:
            found.setdefault(row.run_id, []).append(row)
        return found

    async def task_of_node(self, run_id: str, node_id: str) -> Task | None:
        """The run's task with this id, or one of whose attempts has a pod of this name."""
        query = select(Task).where(Task.run_id == run_id)
        named = query.where(or_(Task.id == node_id, Task.pod_name == node_id)).limit(1)
        async with self.database.session() as session:
            if (found := await session.scalar(named)) is not None:
                return found
            repeated = await session.scalars(query.where(Task.attempt > 0))
            return next((task for task in repeated if node_id in task.failed_pods), None)

    @asynccontextmanager
    async def change(self, run_id: str) -> AsyncGenerator[RunChange | None]:
        """A transaction on the run as it is now (None when it was deleted); commits at the block's end."""
        async with self.database.transaction() as session:
            run = await session.get(Run, run_id, with_for_update=True)
            yield None if run is None else RunChange(session, run)

    @asynccontextmanager
    async def change_existing(self, run_id: str) -> AsyncGenerator[Run]:
        """As ``change``, for those who name a run that must be there. Raises NotFound."""
        async with self.change(run_id) as change:
            if change is None:
                raise NotFound(f"Run {run_id} not found")
            yield change.run

    async def unfinished(self) -> Sequence[ObjectKey]:
        """The key of every run that is not in a final state: what a start has to take up again."""
        query = select(Run.namespace, Run.id).where(Run.state.not_in(FINAL)).order_by(Run.created_at, Run.id)
        async with self.database.session() as session:
            return [ObjectKey(namespace, run_id) for namespace, run_id in (await session.execute(query))]

    async def states(self) -> Mapping[str, int]:
        """How many runs are in which state."""
        query = select(Run.state, func.count()).group_by(Run.state)
        async with self.database.session() as session:
            return dict((await session.execute(query)).all())

    async def list(self, query: ListQuery, experiment_id: str = "") -> Page[Run]:
        """One page of runs, of one experiment if it is named; without their specifications."""
        scope = [Run.experiment_id == experiment_id] if experiment_id else []
        async with self.database.session() as session:
            return await _LISTING.page(session, query, *scope)

    async def specifications(self, run_ids: Sequence[str]) -> Mapping[str, tuple[str, str | None]]:
        """The JSON texts of the runs' specifications and platform settings, as they are stored."""
        query = select(Run.id, cast(Run.pipeline_spec, SQLText), cast(Run.platform_spec, SQLText)).where(
            Run.id.in_(run_ids)
        )
        async with self.database.session() as session:
            return {run_id: (spec, platform) for run_id, spec, platform in await session.execute(query)}

    async def create(self, run: Run) -> None:
        """Add a run and note the time at its experiment."""
        async with self.database.transaction() as session:
            await add_run(session, run)

    async def archive(self, run_id: str, now: datetime) -> None:
        """Put the run into the archive. Raises NotFound."""
        async with self.change_existing(run_id) as run:
            run.storage_state, run.archived_at = ARCHIVED, now

    async def unarchive(self, run_id: str) -> None:
        """Take the run out of the archive. Raises NotFound; FailedPrecondition while its experiment is archived."""
        async with self.change(run_id) as change:
            if change is None:
                raise NotFound(f"Run {run_id} not found")
            experiment = await change.session.get(Experiment, change.run.experiment_id)
            if experiment is not None and experiment.storage_state == ARCHIVED:
                raise FailedPrecondition(
                    f"Failed to unarchive run {run_id} as experiment {experiment.id} must be unarchived first"
                )
            change.run.storage_state, change.run.archived_at = AVAILABLE, None

    async def delete(self, run_id: str) -> ObjectKey:
        """Remove a run and its tasks; lineage of its artifacts stays. Raises NotFound."""
        async with self.change(run_id) as change:
            if change is None:
                raise NotFound(f"Run {run_id} not found")
            await delete_runs(change.session, [run_id])
            return ObjectKey(change.run.namespace, change.run.id)


async def add_run(session: AsyncSession, run: Run) -> None:
    """Add a run within a transaction and note the time at its experiment."""
    session.add(run)
    experiment = await session.get(Experiment, run.experiment_id)
    if experiment is not None:
        experiment.last_run_created_at = run.created_at


async def delete_runs(session: AsyncSession, run_ids: Sequence[str]) -> None:
    """Remove runs and their tasks within a transaction."""
    await session.execute(delete(Task).where(Task.run_id.in_(run_ids)))
    await session.execute(delete(ReportedTask).where(ReportedTask.run_id.in_(run_ids)))
    await session.execute(delete(Run).where(Run.id.in_(run_ids)))


def _tasks_of(run_id: str) -> Select[Task]:
    return select(Task).where(Task.run_id == run_id).order_by(Task.created_at, Task.id)
