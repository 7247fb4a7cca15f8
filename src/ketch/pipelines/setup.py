"""Puts Kubeflow Pipelines together: stores, reconciler, API."""

from importlib.metadata import version

from starlette.applications import Starlette

from ketch.kube.manager import Manager, Maps
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import Pod, ServiceAccount
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.database import Database
from ketch.metadata.objects import ObjectStore
from ketch.pipelines.api.application import application
from ketch.pipelines.creation import SERVICE_ACCOUNT, USER_NAMESPACE
from ketch.pipelines.experiments import ExperimentStore
from ketch.pipelines.reconciler import RunReconciler
from ketch.pipelines.runs import RunStore
from ketch.pipelines.steps import OURS

MANAGER = "ketch-pipelines"


async def setup(manager: Manager, database: Database, objects: ObjectStore) -> Starlette:
    """Open the database, register the engine with ``manager`` and return the API. Raises DatabaseUnusable, APIError."""
    await database.open()
    runs, clock = RunStore(database), manager.clock
    await ExperimentStore(database, clock).default()
    # Steps that name no account of their own run as this one, as everywhere Kubeflow Pipelines is installed.
    account = ServiceAccount(metadata=ObjectMeta(name=SERVICE_ACCOUNT, namespace=USER_NAMESPACE))
    await manager.client.apply(account, manager=MANAGER)
    pods = manager.informer(Pod, label_selector=OURS)
    reconciler = RunReconciler(manager.client, pods, runs, ArtifactStore(database), objects, clock)
    controller = manager.controller("pipeline-runs", reconciler, Maps(pods, reconciler.keys))
    for key in await runs.unfinished():
        controller.enqueue(key)
    return application(database, manager.client, clock, controller.enqueue, version("ketch"))
