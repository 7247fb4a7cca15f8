"""The whole API as one ASGI application."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.metrics import Registry
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.database import Database, DatabaseFull
from ketch.metadata.lineage import Lineage
from ketch.pipelines.api.artifacts import ArtifactService
from ketch.pipelines.api.details import TaskDetails
from ketch.pipelines.api.experiments import ExperimentService
from ketch.pipelines.api.http import (
    LocalOnly,
    Operation,
    on_full_disk,
    on_http_exception,
    on_internal_error,
    on_request_error,
)
from ketch.pipelines.api.metrics import Measured, Metrics
from ketch.pipelines.api.openapi import described, served
from ketch.pipelines.api.pipelines import PipelineService
from ketch.pipelines.api.pods import PodService
from ketch.pipelines.api.recurring import RecurringRunService
from ketch.pipelines.api.refused import RefusedService
from ketch.pipelines.api.runs import Enqueue, RunService
from ketch.pipelines.api.system import LogService, SystemService
from ketch.pipelines.api.tasks import TaskMessages, TaskService
from ketch.pipelines.api.uploads import UploadService
from ketch.pipelines.api.v1beta1.service import ReadService
from ketch.pipelines.errors import RequestError
from ketch.pipelines.logs.archive import LogArchive
from ketch.pipelines.native.catalogue import NativeCatalogue
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.records.lineage import LineageStore, PipelineDomain
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.reporting import ReportStore
from ketch.pipelines.running.rebuilding import Rebuilder
from ketch.pipelines.schedules.store import RecurringRunStore
from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.transfer.stores import Stores

PREFIXES = ("", "/pipeline")


@dataclass(frozen=True, slots=True)
class Engines:
    """Who is told of what the API has written: the engine of runs, and that of recurring runs with its time zone."""

    runs: Enqueue
    recurring: Enqueue
    zone: tzinfo = UTC


@dataclass(frozen=True)
class Backing:
    """What the API stands on; ``packages`` fetches what pipelines are imported from."""

    database: Database
    stores: Stores
    client: Client
    clock: Clock
    engines: Engines
    version: str
    packages: PackageFetcher
    metrics: Registry = field(default_factory=Registry)
    hosts: Sequence[str] = ()
    """Names of this API beside the machine's own."""


def application(backing: Backing) -> Starlette:
    """All services, below ``/apis`` and ``/pipeline/apis``."""
    operations, metrics = _operations(backing), Metrics(RunStore(backing.database), backing.metrics)
    described_as = {f"/apis/{version}": each for version, each in operations.items()}
    document = served(described(described_as, backing.version))
    every = [operation for several in operations.values() for operation in several]
    return Starlette(
        routes=[
            metrics.operation(),
            *(
                Mount(f"{prefix}/apis/{version}", routes=[document, *each])
                for prefix in PREFIXES
                for version, each in operations.items()
            ),
        ],
        middleware=[
            Middleware(Measured, metrics=metrics, clock=backing.clock, operations=every),
            Middleware(LocalOnly, hosts=backing.hosts),
        ],
        exception_handlers={
            RequestError: on_request_error,
            HTTPException: on_http_exception,
            DatabaseFull: on_full_disk,
            Exception: on_internal_error,
        },
    )


def _operations(backing: Backing) -> Mapping[str, Sequence[Operation]]:
    """Every operation, by the API's version."""
    database, clock = backing.database, backing.clock
    runs, experiments = RunStore(database), ExperimentStore(database, clock)
    pipelines = NativeCatalogue(database, clock, backing.client)
    lineage, reports = LineageStore(database), ReportStore(database, clock)
    graph = Lineage(database, (PipelineDomain(database),))
    system = (*SystemService(backing.version).routes(), *RefusedService().routes())
    engines, messages = backing.engines, TaskMessages(lineage)
    details = TaskDetails(runs, clock)
    run_service = RunService(runs, experiments, pipelines, messages, details, backing.stores, clock, engines.runs)
    recurring = RecurringRunStore(database, clock)
    recurring_service = RecurringRunService(
        recurring,
        experiments,
        pipelines,
        clock,
        engines.zone,
        engines.runs,
        engines.recurring,
    )
    current = (
        *UploadService(pipelines).routes(),  # before /pipelines/{pipeline_id}
        *PipelineService(pipelines, backing.packages).routes(),
        *ExperimentService(experiments).routes(),
        *TaskService(database, lineage, reports).routes(),
        *run_service.routes(),
        *recurring_service.routes(),
        *ArtifactService(lineage, reports, graph).routes(),
        *system,
    )
    rebuilder = Rebuilder(runs, ArtifactStore(database), backing.stores)
    logs = (
        *LogService(runs, backing.client, LogArchive(backing.stores)).routes(),
        *PodService(runs, rebuilder).routes(),
    )
    older = (*ReadService(experiments, pipelines, runs, recurring).routes(), *system)
    return {"v2beta1": current, "v1beta1": older, "v1alpha1": logs}
