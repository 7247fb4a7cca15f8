"""Recurring runs in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ketch.kube.clock import Clock
from ketch.kube.meta import ObjectKey
from ketch.metadata.database import Database
from ketch.pipelines.errors import FailedPrecondition, NotFound
from ketch.pipelines.records.listing import Field, Listing, ListQuery, Page, Text, Time
from ketch.pipelines.records.runs import add_run
from ketch.pipelines.records.states import ARCHIVED, CANCELING, FINAL, TERMINABLE, advance_run
from ketch.pipelines.records.tables import Experiment, RecurringRun, Run

_FIELDS: Mapping[str, Field] = {
    "id": Text(RecurringRun.id),
    "recurring_run_id": Text(RecurringRun.id),
    "name": Text(RecurringRun.display_name),
    "display_name": Text(RecurringRun.display_name),
    "created_at": Time(RecurringRun.created_at),
    "updated_at": Time(RecurringRun.updated_at),
    "description": Text(RecurringRun.description),
}
_LISTING = Listing(RecurringRun, RecurringRun.id, _FIELDS)


class RecurringRunStore:
    """Recurring runs by id; what it returns is detached and for reading."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create(self, row: RecurringRun) -> None:
        """Add it. Raises NotFound; FailedPrecondition when it is enabled and its experiment is archived."""
        async with self._database.transaction() as session:
            experiment = await session.get(Experiment, row.experiment_id)
            if experiment is None:
                raise NotFound(f"Experiment {row.experiment_id} not found")
            if row.enabled:
                _check_available(experiment)
            session.add(row)

    async def get(self, identity: str) -> RecurringRun:
        """Raises NotFound."""
        async with self._database.session() as session:
            return await _existing(session, identity)

    async def list(self, query: ListQuery, experiment_id: str = "") -> Page[RecurringRun]:
        """One page of recurring runs, of one experiment if it is named."""
        scope = [RecurringRun.experiment_id == experiment_id] if experiment_id else []
        async with self._database.session() as session:
            return await _LISTING.page(session, query, *scope)

    async def enable(self, identity: str, *, enabled: bool) -> None:
        """Switch it on or off. Raises NotFound; FailedPrecondition while its experiment is archived."""
        async with self._database.transaction() as session:
            row = await _existing(session, identity)
            if enabled:
                _check_available(await session.get(Experiment, row.experiment_id))
            if row.enabled != enabled:
                row.enabled, row.updated_at = enabled, self._clock.now()

    async def delete(self, identity: str, *, end_runs: bool) -> Sequence[ObjectKey]:
        """Remove it; its runs stay, those that have not ended are terminated if ``end_runs``. Returns the keys of
        these. Raises NotFound."""
        now = self._clock.now()
        async with self._database.transaction() as session:
            await session.delete(await _existing(session, identity))
            if not end_runs:
                return ()
            query = select(Run).where(Run.recurring_run_id == identity, Run.state.in_(TERMINABLE))
            runs = (await session.scalars(query)).all()
            for run in runs:
                advance_run(run, CANCELING, now)
            return [ObjectKey(run.namespace, run.id) for run in runs]

    async def enabled(self) -> Sequence[str]:
        """The ids of all that are switched on."""
        async with self._database.session() as session:
            return (await session.scalars(select(RecurringRun.id).where(RecurringRun.enabled))).all()

    async def active_runs(self, identity: str) -> int:
        """How many of its runs have not ended."""
        query = select(func.count()).where(Run.recurring_run_id == identity, Run.state.not_in(FINAL))
        async with self._database.session() as session:
            return await session.scalar(query) or 0

    async def add_run(self, row: RecurringRun, run: Run, due: datetime) -> bool:
        """Add the run and count it, both or neither; False when the recurring run is no longer as in ``row``."""
        async with self._database.transaction() as session:
            current = await session.get(RecurringRun, row.id, with_for_update=True)
            if current is None or not current.enabled or current.last_index != row.last_index:
                return False
            if await session.get(Run, run.id) is None:
                await add_run(session, run)
            current.last_index, current.last_scheduled_at, current.error = row.last_index + 1, due, None
            return True

    async def note(self, identity: str, error: Mapping[str, Any]) -> bool:
        """Note why its due run cannot be made; whether that is news."""
        async with self._database.transaction() as session:
            row = await session.get(RecurringRun, identity)
            if row is None or row.error == error:
                return False
            row.error = error
            return True


async def _existing(session: AsyncSession, identity: str) -> RecurringRun:
    row = await session.get(RecurringRun, identity)
    if row is None:
        raise NotFound(f"Recurring run {identity} not found")
    return row


def _check_available(experiment: Experiment | None) -> None:
    if experiment is not None and experiment.storage_state == ARCHIVED:
        raise FailedPrecondition(
            f"a recurring run cannot be enabled while its experiment {experiment.id} is archived; unarchive it first"
        )
