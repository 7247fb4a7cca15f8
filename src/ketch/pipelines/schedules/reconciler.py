"""RecurringRunReconciler: makes the runs of a schedule when they are due."""

import logging
from collections.abc import Callable
from datetime import tzinfo
from typing import Final

from ketch.kube.clock import Clock
from ketch.kube.controller import Result
from ketch.kube.meta import ObjectKey
from ketch.metadata.objects import DEFAULT_ROOT
from ketch.pipelines.creation import new_run
from ketch.pipelines.errors import NotFound, RequestError
from ketch.pipelines.records.catalog import PipelineStore
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.records.tables import RecurringRun
from ketch.pipelines.schedules.requests import next_request, trigger_of
from ketch.pipelines.schedules.store import RecurringRunStore
from ketch.pipelines.schedules.triggers import next_due
from ketch.pipelines.specifications import Specification, from_wire, wrapped

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS: Final = 60.0
"""At the latest: the wall clock may be set, and a machine that slept has not counted the seconds."""
BLOCKED_SECONDS: Final = 10.0
"""How often a schedule that has as many runs as it may looks again; the end of a run wakes it earlier."""
REFUSED_SECONDS: Final = 60.0
"""How long to wait after a run could not be made: somebody has to mend its pipeline first."""


def recurring_key(identity: str) -> ObjectKey:
    """The key of a recurring run."""
    return ObjectKey("", identity)


class RecurringRunReconciler:
    """Reconciles recurring runs, which are rows; keys are ``recurring_key``. At most one run is made in a pass.

    ``zone`` is where cron expressions' hours are told. ``started`` is told of each new run,
    ``root`` tells where the artifacts go of those that name no root; it may raise RequestError.
    """

    def __init__(
        self,
        store: RecurringRunStore,
        pipelines: PipelineStore,
        experiments: ExperimentStore,
        clock: Clock,
        zone: tzinfo,
        started: Callable[[ObjectKey], None],
        root: Callable[[], str] = lambda: DEFAULT_ROOT,
    ) -> None:
        self._store, self._pipelines, self._experiments = store, pipelines, experiments
        self._clock, self._zone, self._started, self._root = clock, zone, started, root

    async def reconcile(self, key: ObjectKey) -> Result:
        """Make the run that is due, if one is."""
        try:
            row = await self._store.get(key.name)
        except NotFound:
            return Result()
        if not row.enabled:
            return Result()
        now = self._clock.now()
        due = next_due(trigger_of(row, self._zone), row.created_at, row.last_scheduled_at, now)
        if due is None:
            return Result()  # it is over
        if due > now:
            return Result(requeue_after=min((due - now).total_seconds(), LOOK_AGAIN_SECONDS))
        if await self._store.active_runs(row.id) >= row.max_concurrency:
            return Result(requeue_after=BLOCKED_SECONDS)
        try:
            await self._experiments.get(row.experiment_id)
            specification, version_id = await self._specification(row)
            run = new_run(next_request(row, specification, version_id, due), now, self._root())
            run.plugins_input = row.plugins_input
        except RequestError as error:
            if await self._store.note(row.id, {"code": error.code, "message": error.message}):
                log.warning("recurring run %s (%s): its run cannot be made: %s", row.id, row.name, error.message)
            return Result(requeue_after=REFUSED_SECONDS)
        if await self._store.add_run(row, run, due):
            self._started(ObjectKey(run.namespace, run.id))
        return Result(requeue_after=0.0)  # others may be due

    async def _specification(self, row: RecurringRun) -> tuple[Specification, str | None]:
        """What runs now, and the version that it is."""
        if row.pipeline_spec is not None:
            return from_wire(wrapped(row.pipeline_spec, row.platform_spec)), None
        version = await self._pipelines.referenced(row.pipeline_id or "", row.pipeline_version_id or "")
        return from_wire(wrapped(version.pipeline_spec, version.platform_spec)), version.id
