"""Runs that ended long ago are archived, and archived ones deleted, if the operator wants it so."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, update

from ketch.kube.clock import Clock
from ketch.kube.controller import Result
from ketch.kube.meta import ObjectKey
from ketch.metadata.database import Database
from ketch.pipelines.records.runs import delete_runs
from ketch.pipelines.records.states import ARCHIVED, FINAL
from ketch.pipelines.records.tables import Run
from ketch.pipelines.settings import Retention

log = logging.getLogger(__name__)

ALL_RUNS: Final = ObjectKey("", "runs")
"""The one key."""


class RunCollector:
    """Archives and deletes runs as ``retention`` says; ``deleted`` is told of each that went.

    A run's age counts from its end, an archived one's from its archival; lineage of artifacts stays.
    """

    def __init__(
        self, database: Database, retention: Retention, clock: Clock, deleted: Callable[[ObjectKey], None]
    ) -> None:
        self._database, self._retention, self._clock, self._deleted = database, retention, clock, deleted

    @property
    def is_on(self) -> bool:
        """Whether there is anything to do at all."""
        return self._retention.archive_after is not None or self._retention.delete_after is not None

    async def reconcile(self, key: ObjectKey) -> Result:  # noqa: ARG002  # there is only the one
        """One round, in transactions of a batch each."""
        if not self.is_on:
            return Result()
        now, retention = self._clock.now(), self._retention
        archived = deleted = 0
        if retention.archive_after is not None:
            while count := await self._archive(now - retention.archive_after, now):
                archived += count
        if retention.delete_after is not None:
            while gone := await self._delete(now - retention.delete_after):
                deleted += len(gone)
                for each in gone:
                    self._deleted(each)
        if archived or deleted:
            log.info("runs: archived %d, deleted %d", archived, deleted)
        return Result(requeue_after=retention.interval.total_seconds())

    async def _archive(self, before: datetime, now: datetime) -> int:
        old = (
            select(Run.id)
            .where(Run.storage_state != ARCHIVED, Run.state.in_(FINAL), Run.finished_at < before)
            .limit(self._retention.batch)
        )
        async with self._database.transaction() as session:
            ids = (await session.scalars(old)).all()
            await session.execute(update(Run).where(Run.id.in_(ids)).values(storage_state=ARCHIVED, archived_at=now))
        return len(ids)

    async def _delete(self, before: datetime) -> Sequence[ObjectKey]:
        since = func.coalesce(Run.archived_at, Run.finished_at)
        old = (
            select(Run.namespace, Run.id)
            .where(Run.storage_state == ARCHIVED, Run.state.in_(FINAL), since < before)
            .limit(self._retention.batch)
        )
        async with self._database.transaction() as session:
            keys = [ObjectKey(namespace, run_id) for namespace, run_id in (await session.execute(old))]
            await delete_runs(session, [key.name for key in keys])
        return keys
