"""Puts native pipelines together: kinds, admission, reconcilers."""

from collections.abc import Sequence
from typing import Any

from ketch.kube.admission import Admission
from ketch.kube.installation import Install, apply_all
from ketch.kube.manager import For, Manager, Maps
from ketch.metadata.database import Database
from ketch.pipelines.native.admission import PipelineAdmission, PipelineVersionAdmission
from ketch.pipelines.native.reconcilers import (
    BY_PIPELINE,
    MANAGER,
    PipelineObjectReconciler,
    PipelineVersionObjectReconciler,
    pipeline_of,
)
from ketch.pipelines.native.rows import key_of
from ketch.pipelines.native.store import NativeStore
from ketch.pipelines.native.types import PipelineObject, PipelineVersionObject, definitions
from ketch.pipelines.sources.remote import PackageFetcher


def admissions() -> Sequence[Admission[Any]]:
    """What an API server asks before it stores these kinds."""
    return (PipelineAdmission(), PipelineVersionAdmission())


async def setup(manager: Manager, database: Database, packages: PackageFetcher, install: Install = apply_all) -> None:
    """Make the kinds known and register their controllers. The database is open. Raises APIError."""
    client, clock, store = manager.client, manager.clock, NativeStore(database)
    await install(client, definitions(), MANAGER)
    pipelines, versions = manager.informer(PipelineObject), manager.informer(PipelineVersionObject)
    versions.add_index(BY_PIPELINE, pipeline_of)
    of_pipelines = PipelineObjectReconciler(client, pipelines, store, clock)
    of_versions = PipelineVersionObjectReconciler(client, pipelines, versions, store, packages, clock)
    pipeline_controller = manager.controller("native-pipelines", of_pipelines, For(pipelines))
    version_controller = manager.controller(
        "native-pipeline-versions", of_versions, For(versions), Maps(pipelines, of_versions.keys)
    )
    # Objects that went while nobody looked: their rows are all that is left to tell of them.
    known_pipelines, known_versions = await store.origins()
    for origin in known_pipelines:
        pipeline_controller.enqueue(key_of(origin))
    for origin in known_versions:
        version_controller.enqueue(key_of(origin))
