"""The whole API as one ASGI application."""

from dataclasses import dataclass
from datetime import UTC, tzinfo

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.metadata.database import Database
from ketch.pipelines.api.experiments import ExperimentService
from ketch.pipelines.api.http import LocalOnly, on_http_exception, on_internal_error, on_request_error
from ketch.pipelines.api.lineage import LineageService
from ketch.pipelines.api.pipelines import PipelineService
from ketch.pipelines.api.recurring import RecurringRunService
from ketch.pipelines.api.runs import Enqueue, RunService
from ketch.pipelines.api.system import LogService, SystemService
from ketch.pipelines.api.uploads import UploadService
from ketch.pipelines.catalog import PipelineStore
from ketch.pipelines.errors import RequestError
from ketch.pipelines.experiments import ExperimentStore
from ketch.pipelines.lineage import LineageStore
from ketch.pipelines.runs import RunStore
from ketch.pipelines.schedules.store import RecurringRunStore

PREFIXES = ("", "/pipeline")


@dataclass(frozen=True, slots=True)
class Engines:
    """Who is told of what the API has written: the engine of runs, and that of recurring runs with its time zone."""

    runs: Enqueue
    recurring: Enqueue
    zone: tzinfo = UTC


def application(database: Database, client: Client, clock: Clock, engines: Engines, version: str) -> Starlette:
    """All services, below ``/apis`` and ``/pipeline/apis``."""
    runs, experiments, pipelines = RunStore(database), ExperimentStore(database, clock), PipelineStore(database, clock)
    system = SystemService(version).routes()
    current = (
        *UploadService(pipelines).routes(),  # before /pipelines/{pipeline_id}
        *PipelineService(pipelines).routes(),
        *ExperimentService(experiments).routes(),
        *RunService(runs, experiments, pipelines, clock, engines.runs).routes(),
        *RecurringRunService(
            RecurringRunStore(database, clock),
            experiments,
            pipelines,
            clock,
            engines.zone,
            engines.runs,
            engines.recurring,
        ).routes(),
        *LineageService(LineageStore(database)).routes(),
        *system,
    )
    logs = LogService(runs, client).routes()
    versions = (("v2beta1", current), ("v1beta1", system), ("v1alpha1", logs))
    return Starlette(
        routes=[
            Mount(f"{prefix}/apis/{name}", routes=list(routes)) for prefix in PREFIXES for name, routes in versions
        ],
        middleware=[Middleware(LocalOnly)],
        exception_handlers={
            RequestError: on_request_error,
            HTTPException: on_http_exception,
            Exception: on_internal_error,
        },
    )
