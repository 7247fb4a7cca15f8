"""Puts Kubeflow Pipelines together: stores, reconciler, API."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from starlette.applications import Starlette

from ketch.kube.controller import Controller
from ketch.kube.installation import Install, apply_all
from ketch.kube.manager import Manager, Maps
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import ConfigMap, PersistentVolumeClaim, Pod, ServiceAccount
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.database import Database
from ketch.metadata.objects import ObjectStore
from ketch.pipelines.api.application import Backing, Engines, application
from ketch.pipelines.creation import SERVICE_ACCOUNT, USER_NAMESPACE
from ketch.pipelines.logs.archive import LogArchive
from ketch.pipelines.logs.archiver import LogArchiver
from ketch.pipelines.native import setup as native
from ketch.pipelines.reconciler import RunReconciler
from ketch.pipelines.records.catalog import PipelineStore
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.tables import Run
from ketch.pipelines.retention import setup as retention
from ketch.pipelines.roots import default_root
from ketch.pipelines.schedules.reconciler import RecurringRunReconciler, recurring_key
from ketch.pipelines.schedules.store import RecurringRunStore
from ketch.pipelines.settings import DEFAULTS, Settings
from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.steps.step import OURS
from ketch.pipelines.transfer.sources import Carriage
from ketch.pipelines.transfer.stores import SELECTOR, Stores

MANAGER = "ketch-pipelines"
LOG_WORKERS = 2
CARRIAGE = Carriage(keeps_logs=True)
"""Everything that is not configured is in the store that is here."""


async def setup(
    manager: Manager,
    database: Database,
    objects: ObjectStore | None,
    settings: Settings = DEFAULTS,
    carriage: Carriage = CARRIAGE,
    install: Install = apply_all,
) -> Starlette:
    """Open the database, register the engines and return the API. Raises DatabaseUnusable, APIError, and what
    ``install`` raises.

    ``objects`` is the store that pods can mount, None where there is none. ``carriage`` has the stores of everything
    that no namespace configures otherwise.
    """
    await database.open()
    runs, clock = RunStore(database), manager.clock
    await ExperimentStore(database, clock).default()
    # Steps that name no account of their own run as this one, as everywhere Kubeflow Pipelines is installed.
    account = ServiceAccount(metadata=ObjectMeta(name=SERVICE_ACCOUNT, namespace=USER_NAMESPACE))
    await manager.client.apply(account, manager=MANAGER)
    pods = manager.informer(Pod, label_selector=OURS)
    claims = manager.informer(PersistentVolumeClaim, label_selector=OURS)
    configured = manager.informer(ConfigMap, field_selector=SELECTOR)
    stores = Stores(manager.client, configured, clock, objects, carriage=carriage)
    archiver = LogArchiver(manager.client, pods, LogArchive(stores), runs.exists, clock)
    manager.controller("pipeline-logs", archiver, Maps(pods, archiver.keys), workers=LOG_WORKERS)

    def ended(run: Run) -> None:
        if run.recurring_run_id:
            schedules.enqueue(recurring_key(run.recurring_run_id))  # it may have waited for this end
        retained(run)

    reconciler = RunReconciler(manager.client, pods, runs, ArtifactStore(database), stores, clock, ended)
    controller = manager.controller(
        "pipeline-runs", reconciler, Maps(pods, reconciler.keys), Maps(claims, reconciler.keys)
    )
    schedules = await _schedules(manager, database, settings, controller, partial(default_root, stores, USER_NAMESPACE))
    retained = await retention.setup(manager, database, settings.retention, pods, controller.enqueue)
    for key in await runs.unfinished():
        controller.enqueue(key)
    engines = Engines(controller.enqueue, schedules.enqueue, settings.zone)
    packages = PackageFetcher(settings.packages)
    await native.setup(manager, database, packages, install)
    backing = Backing(
        database,
        stores,
        manager.client,
        clock,
        engines,
        version("ketch"),
        packages,
        metrics=manager.metrics,
        hosts=settings.hosts,
    )
    return application(backing)


async def _schedules(
    manager: Manager, database: Database, settings: Settings, runs: Controller, root: Callable[[], str]
) -> Controller:
    """The controller of recurring runs."""
    clock = manager.clock
    store, pipelines = RecurringRunStore(database, clock), PipelineStore(database, clock)
    experiments = ExperimentStore(database, clock)
    reconciler = RecurringRunReconciler(store, pipelines, experiments, clock, settings.zone, runs.enqueue, root)
    controller = manager.controller("recurring-runs", reconciler)
    for identity in await store.enabled():
        controller.enqueue(recurring_key(identity))
    return controller
