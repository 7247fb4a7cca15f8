"""Pods and the workspace of a run go when the pipeline's ``resource_ttl`` says so; its rows and artifacts stay."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select, update

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.controller import Result
from ketch.kube.meta import ObjectKey
from ketch.metadata.database import Database
from ketch.pipelines.reconciler import remove_objects
from ketch.pipelines.records.tables import Run

LOOK_AGAIN_SECONDS = 60.0
"""At the latest: the wall clock may be set, and a machine that slept has not counted the seconds."""


class RunResourcesReconciler:
    """Reconciles runs that have ended; keys are ``ObjectKey(namespace, run id)``."""

    def __init__(self, client: Client, database: Database, clock: Clock) -> None:
        self._client, self._database, self._clock = client, database, clock

    async def waiting(self) -> Mapping[ObjectKey, datetime]:
        """Every run whose resources are to go, and when."""
        query = select(Run.namespace, Run.id, Run.resources_until).where(Run.resources_until.is_not(None))
        async with self._database.session() as session:
            rows = (await session.execute(query)).all()
        return {ObjectKey(namespace, run_id): until for namespace, run_id, until in rows if until is not None}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Delete what is due; a run that has not ended, or was retried, has no such time."""
        query = select(Run.resources_until).where(Run.id == key.name)
        async with self._database.session() as session:
            until = await session.scalar(query)
        if until is None:
            return Result()
        left = (until - self._clock.now()).total_seconds()
        if left > 0:
            return Result(requeue_after=min(left, LOOK_AGAIN_SECONDS))
        await remove_objects(self._client, key)
        async with self._database.transaction() as session:
            # Not if it was retried meanwhile: then there is another end to come.
            done = update(Run).where(Run.id == key.name, Run.resources_until == until)
            await session.execute(done.values(resources_until=None))
        return Result()
