"""Runs and their tasks in the database: the queries that the API and the engine share.

The engine reads with ``get`` and ``tasks``, decides, and writes everything that one decision changes inside one
``change`` block, so that a kill at any moment leaves either all of it or nothing.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from ketch.metadata.database import Database
from ketch.pipelines.states import CACHED, FINAL, SUCCEEDED
from ketch.pipelines.tables import Experiment, Run, Task


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

    async def tasks(self, run_id: str) -> Sequence[Task]:
        """All tasks of a run in the order in which they were created."""
        async with self.database.session() as session:
            return (await session.scalars(_tasks_of(run_id))).all()

    @asynccontextmanager
    async def change(self, run_id: str) -> AsyncGenerator[RunChange | None]:
        """A transaction on the run as it is now (None when it was deleted); commits at the block's end."""
        async with self.database.transaction() as session:
            run = await session.get(Run, run_id, with_for_update=True)
            yield None if run is None else RunChange(session, run)

    async def unfinished(self) -> Sequence[tuple[str, str]]:
        """``(namespace, run id)`` of every run that is not in a final state: what a start has to take up again."""
        query = select(Run.namespace, Run.id).where(Run.state.not_in(FINAL)).order_by(Run.created_at, Run.id)
        async with self.database.session() as session:
            return [(namespace, run_id) for namespace, run_id in await session.execute(query)]

    async def cached(self, cache_key: str) -> Task | None:
        """The newest task that finished well under ``cache_key``."""
        query = (
            select(Task)
            .where(Task.cache_key == cache_key, Task.state.in_((SUCCEEDED, CACHED)))
            .order_by(Task.finished_at.desc())
            .limit(1)
        )
        async with self.database.session() as session:
            return await session.scalar(query)

    async def create(self, run: Run) -> None:
        """Add a run and note the time at its experiment."""
        async with self.database.transaction() as session:
            session.add(run)
            experiment = await session.get(Experiment, run.experiment_id)
            if experiment is not None:
                experiment.last_run_created_at = run.created_at

    async def delete(self, run_id: str) -> bool:
        """Remove a run and its tasks; False when there was none. Lineage of its artifacts stays."""
        async with self.database.transaction() as session:
            run = await session.get(Run, run_id)
            if run is None:
                return False
            await session.execute(delete(Task).where(Task.run_id == run_id))
            await session.delete(run)
            return True


def _tasks_of(run_id: str) -> Select[Task]:
    return select(Task).where(Task.run_id == run_id).order_by(Task.created_at, Task.id)
