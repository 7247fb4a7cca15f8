"""RecurringRunService."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from starlette.requests import Request

from ketch.kube.clock import Clock
from ketch.kube.codec import parse_time
from ketch.kube.meta import ObjectKey
from ketch.pipelines.api.http import Operation, Query, route
from ketch.pipelines.api.listing import LISTED, list_query, next_token
from ketch.pipelines.api.messages import Empty, PipelineVersionReference, RuntimeConfig, Status
from ketch.pipelines.api.recurring_messages import (
    CronSchedule,
    ListRecurringRunsResponse,
    PeriodicSchedule,
    PropagationPolicy,
    RecurringRun,
    Trigger,
)
from ketch.pipelines.api.wire import query_value, timestamp
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.plugins import check_plugins
from ketch.pipelines.records import tables
from ketch.pipelines.records.catalog import PipelineStore
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.schedules.reconciler import recurring_key
from ketch.pipelines.schedules.requests import RecurringRequest, Timing, new_recurring_run
from ketch.pipelines.schedules.store import RecurringRunStore
from ketch.pipelines.specifications import Specification, from_wire, wrapped

log = logging.getLogger(__name__)

_SCOPE = "recurring runs"
_CRONTAB_FIELDS: Final = 5
_ENABLE, _DISABLE = "ENABLE", "DISABLE"
_ENDING: Final = frozenset({"FOREGROUND", "BACKGROUND"})
"""The policies of a deletion that terminate runs. Unless told, work goes on."""


def recurring_run_message(row: tables.RecurringRun) -> RecurringRun:
    """The wire form of a recurring run."""
    reference, spec = None, None
    if row.pipeline_spec is None:
        reference = PipelineVersionReference(
            pipeline_id=row.pipeline_id or "", pipeline_version_id=row.pipeline_version_id or ""
        )
    else:
        spec = wrapped(row.pipeline_spec, row.platform_spec)
    return RecurringRun(
        recurring_run_id=row.id,
        display_name=row.display_name,
        description=row.description,
        pipeline_spec=spec,
        pipeline_version_reference=reference,
        runtime_config=RuntimeConfig(parameters=row.parameters or None, pipeline_root=row.pipeline_root),
        service_account=row.service_account,
        max_concurrency=str(row.max_concurrency),
        trigger=_trigger(row),
        mode=_ENABLE if row.enabled else _DISABLE,
        created_at=timestamp(row.created_at),
        updated_at=timestamp(row.updated_at),
        status="ENABLED" if row.enabled else "DISABLED",
        error=Status(code=row.error["code"], message=row.error["message"]) if row.error else None,
        no_catchup=row.no_catchup,
        experiment_id=row.experiment_id,
        plugins_input=row.plugins_input,
    )


def _trigger(row: tables.RecurringRun) -> Trigger:
    start = timestamp(row.start_at) if row.start_at else None
    end = timestamp(row.end_at) if row.end_at else None
    if row.interval_second:
        interval = str(row.interval_second)
        return Trigger(periodic_schedule=PeriodicSchedule(start_time=start, end_time=end, interval_second=interval))
    if row.cron:
        return Trigger(cron_schedule=CronSchedule(start_time=start, end_time=end, cron=row.cron))
    return Trigger()


def _timing(trigger: Trigger | None) -> Timing:
    if trigger is None:
        return Timing()
    cron, periodic = trigger.cron_schedule, trigger.periodic_schedule
    schedule = cron or periodic
    return Timing(
        cron=cron.cron if cron else None,
        interval_second=int(periodic.interval_second or 0) if periodic else None,
        start=_moment(schedule.start_time if schedule else None),
        end=_moment(schedule.end_time if schedule else None),
    )


def _moment(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


@dataclass(frozen=True)
class RecurringRunService:
    """The service's methods. ``enqueue`` tells the engine of runs, ``schedule`` the scheduler of recurring runs."""

    recurring: RecurringRunStore
    experiments: ExperimentStore
    pipelines: PipelineStore
    clock: Clock
    zone: tzinfo
    enqueue: Callable[[ObjectKey], None]
    schedule: Callable[[ObjectKey], None]

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        one = "/recurringruns/{recurring_run_id}"
        return (
            route("POST", "/recurringruns", self._create),
            route("GET", "/recurringruns", self._list, (*LISTED, Query("namespace"), Query("experiment_id"))),
            route("POST", f"{one}:enable", self._enable),
            route("POST", f"{one}:disable", self._disable),
            route("GET", one, self._get),
            route(
                "DELETE",
                one,
                self._delete,
                (
                    Query(
                        "propagation_policy",
                        "FOREGROUND and BACKGROUND terminate its runs, ORPHAN lets them end, and so does none.",
                        PropagationPolicy,
                    ),
                ),
            ),
        )

    async def _create(self, wanted: RecurringRun) -> RecurringRun:
        check_plugins(wanted.plugins_input or {})
        specification, reference = await self._specification(wanted)
        experiment_id = wanted.experiment_id or (await self.experiments.default()).id
        config = wanted.runtime_config or RuntimeConfig()
        row = new_recurring_run(
            RecurringRequest(
                display_name=wanted.display_name,
                experiment_id=experiment_id,
                specification=specification,
                by_reference=reference is not None,
                timing=_timing(wanted.trigger),
                enabled=wanted.mode == _ENABLE,
                max_concurrency=int(wanted.max_concurrency or 0),
                no_catchup=wanted.no_catchup,
                description=wanted.description,
                parameters=config.parameters or {},
                pipeline_root=config.pipeline_root,
                service_account=wanted.service_account,
                pipeline_id=reference.pipeline_id if reference else None,
                pipeline_version_id=(reference.pipeline_version_id or None) if reference else None,
            ),
            self.clock.now(),
            self.zone,
        )
        row.plugins_input = wanted.plugins_input or None
        await self.recurring.create(row)
        if len(row.cron.split()) == _CRONTAB_FIELDS:
            log.warning(
                "recurring run %s: the first of the five fields of %r is seconds, as upstream", row.id, row.cron
            )
        self.schedule(recurring_key(row.id))
        return recurring_run_message(row)

    async def _specification(self, wanted: RecurringRun) -> tuple[Specification, PipelineVersionReference | None]:
        """What would run now, and where it is to be taken from later."""
        reference = wanted.pipeline_version_reference
        given = [wanted.pipeline_spec is not None, reference is not None, bool(wanted.pipeline_version_id)]
        if given.count(True) != 1:
            raise InvalidInput("a recurring run needs exactly one of pipeline_spec and pipeline_version_reference")
        if wanted.pipeline_spec is not None:
            return from_wire(wanted.pipeline_spec), None
        if reference is None:
            reference = PipelineVersionReference(pipeline_version_id=wanted.pipeline_version_id)
        version = await self.pipelines.referenced(reference.pipeline_id, reference.pipeline_version_id)
        named = PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=reference.pipeline_version_id
        )
        return from_wire(wrapped(version.pipeline_spec, version.platform_spec)), named

    async def _get(self, request: Request) -> RecurringRun:
        return recurring_run_message(await self.recurring.get(request.path_params["recurring_run_id"]))

    async def _list(self, request: Request) -> ListRecurringRunsResponse:
        query = list_query(request.query_params, _SCOPE)
        page = await self.recurring.list(query, request.query_params.get("experiment_id", ""))
        return ListRecurringRunsResponse(
            recurring_runs=tuple(recurring_run_message(row) for row in page.rows),
            total_size=page.total,
            next_page_token=next_token(page, query, _SCOPE),
        )

    async def _enable(self, request: Request) -> Empty:
        return await self._switch(request.path_params["recurring_run_id"], enabled=True)

    async def _disable(self, request: Request) -> Empty:
        return await self._switch(request.path_params["recurring_run_id"], enabled=False)

    async def _switch(self, identity: str, *, enabled: bool) -> Empty:
        await self.recurring.enable(identity, enabled=enabled)
        self.schedule(recurring_key(identity))
        return Empty()

    async def _delete(self, request: Request) -> Empty:
        policy = query_value(request.query_params, "propagation_policy", PropagationPolicy)
        identity = request.path_params["recurring_run_id"]
        for key in await self.recurring.delete(identity, end_runs=policy in _ENDING):
            self.enqueue(key)
        return Empty()
