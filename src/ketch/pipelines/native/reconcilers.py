"""Keeps the catalogue like the objects, and tells in each object's condition whether it is in there."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.codec import encode
from ketch.kube.conditions import set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import NotFound
from ketch.kube.informer import Informer
from ketch.kube.meta import Condition, ObjectKey, OwnerReference
from ketch.kube.transport import MERGE_PATCH
from ketch.pipelines.errors import AlreadyExists, InvalidInput
from ketch.pipelines.native.rows import (
    inline_specification,
    is_going,
    origin_of,
    pipeline_row,
    version_row,
)
from ketch.pipelines.native.store import NativeStore
from ketch.pipelines.native.types import READY, PipelineObject, PipelineVersionObject
from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.specifications import Specification, from_file, from_wire, wrapped

MANAGER: Final = "ketch-pipelines"
"""Field manager of what is written here."""
PIPELINE_ID: Final = "pipelines.kubeflow.org/pipeline-id"
"""The label of a version that carries its pipeline's id."""
BY_PIPELINE: Final = "pipeline"
"""The index of versions by the key of their pipeline, as text."""
AGAIN_SECONDS: Final = 30.0
"""When to look again at what may become possible without any object changing: a name, an address."""


def pipeline_of(version: PipelineVersionObject) -> Iterable[str]:
    """The pipeline that a version names, as the index has it."""
    return (origin_of(ObjectKey(version.metadata.namespace, version.spec.pipeline_name)),)


class PipelineObjectReconciler:
    """Reconciles Pipeline objects."""

    def __init__(self, client: Client, pipelines: Informer[PipelineObject], store: NativeStore, clock: Clock) -> None:
        self._client, self._pipelines, self._store, self._clock = client, pipelines, store, clock

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        obj = self._pipelines.get(key)
        if obj is None or is_going(obj):
            await self._store.forget_pipeline(origin_of(key))
            return Result()
        try:
            await self._store.keep_pipeline(pipeline_row(obj))
        except AlreadyExists as error:
            await tell(self._client, self._clock, obj, _not_ready("NameTaken", error.message))
            return Result(requeue_after=AGAIN_SECONDS)
        await tell(self._client, self._clock, obj, _READY)
        return Result()


class PipelineVersionObjectReconciler:
    """Reconciles PipelineVersion objects."""

    def __init__(
        self,
        client: Client,
        pipelines: Informer[PipelineObject],
        versions: Informer[PipelineVersionObject],
        store: NativeStore,
        packages: PackageFetcher,
        clock: Clock,
    ) -> None:
        self._client, self._pipelines, self._versions = client, pipelines, versions
        self._store, self._packages, self._clock = store, packages, clock

    def keys(self, pipeline: PipelineObject) -> Iterable[ObjectKey]:
        """The versions that a changed pipeline concerns."""
        return [version.key for version in self._versions.by_index(BY_PIPELINE, origin_of(pipeline.key))]

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        obj = self._versions.get(key)
        if obj is None or is_going(obj):
            await self._store.forget_version(origin_of(key))
            return Result()
        pipeline = self._pipelines.get(ObjectKey(key.namespace, obj.spec.pipeline_name))
        if pipeline is None or is_going(pipeline):
            message = f"there is no Pipeline {obj.spec.pipeline_name} in namespace {key.namespace}"
            return await self._refuse(obj, "PipelineNotFound", message)
        if not _is_ready(pipeline):
            message = f"the Pipeline {obj.spec.pipeline_name} is not ready; its condition says why"
            return await self._refuse(obj, "PipelineNotReady", message)
        if any(each.uid != pipeline.metadata.uid for each in _owners(obj)):
            message = f"it belongs to an earlier Pipeline {obj.spec.pipeline_name}, with which it goes"
            return await self._refuse(obj, "PipelineReplaced", message)
        await self._claim(obj, pipeline)
        try:
            await self._store.keep_version(version_row(obj, pipeline, await self._specification(obj)))
        except InvalidInput as error:
            await self._refuse(obj, "InvalidPipelineSpec", error.message)
            return Result(requeue_after=AGAIN_SECONDS if obj.spec.pipeline_spec_uri else None)
        except AlreadyExists as error:
            await self._refuse(obj, "NameTaken", error.message)
            return Result(requeue_after=AGAIN_SECONDS)
        await tell(self._client, self._clock, obj, _READY)
        return Result()

    async def _specification(self, obj: PipelineVersionObject) -> Specification:
        """What runs; what is elsewhere is fetched once, because a version never changes."""
        if not obj.spec.pipeline_spec_uri:
            return inline_specification(obj)
        known = await self._store.version(obj.metadata.uid)
        if known is not None:
            return from_wire(wrapped(known.pipeline_spec, known.platform_spec))
        return await from_file(await self._packages.fetch(obj.spec.pipeline_spec_uri))

    async def _claim(self, obj: PipelineVersionObject, pipeline: PipelineObject) -> None:
        """Let the version go with its pipeline."""
        owner = OwnerReference(
            api_version=PipelineObject.resource.api_version,
            kind=PipelineObject.resource.kind,
            name=pipeline.metadata.name,
            uid=pipeline.metadata.uid,
        )
        meta = obj.metadata
        if _owners(obj) and meta.labels.get(PIPELINE_ID) == owner.uid:
            return
        owners = (*meta.owner_references, *(() if _owners(obj) else (owner,)))
        metadata = {
            "resourceVersion": meta.resource_version,  # the list is replaced as a whole
            "ownerReferences": [encode(each) for each in owners],
            "labels": {PIPELINE_ID: owner.uid},
        }
        await _patch(self._client, obj, {"metadata": metadata})

    async def _refuse(self, obj: PipelineVersionObject, reason: str, message: str) -> Result:
        await self._store.forget_version(origin_of(obj.key))
        await tell(self._client, self._clock, obj, _not_ready(reason, message))
        return Result()


_READY: Final = Condition(type=READY, status="True", reason="InCatalogue", message="visible, and can be run")


def _not_ready(reason: str, message: str) -> Condition:
    return Condition(type=READY, status="False", reason=reason, message=message)


def _owners(obj: PipelineVersionObject) -> Sequence[OwnerReference]:
    """The pipelines that the version goes with: one, or none yet."""
    resource = PipelineObject.resource
    return [
        each
        for each in obj.metadata.owner_references
        if (each.api_version, each.kind) == (resource.api_version, resource.kind)
    ]


def _is_ready(obj: PipelineObject) -> bool:
    return any(each.type == READY and each.status == "True" for each in obj.status.conditions)


async def tell(client: Client, clock: Clock, obj: PipelineObject | PipelineVersionObject, condition: Condition) -> None:
    """Write the condition unless the object has it."""
    old = obj.status.conditions
    new = set_conditions(old, condition, generation=obj.metadata.generation, now=clock.now())
    if new != old:
        status = {"conditions": [encode(each) for each in new]}
        await _patch(client, obj, {"status": status}, subresource="status")


async def _patch(
    client: Client,
    obj: PipelineObject | PipelineVersionObject,
    body: Mapping[str, Any],
    subresource: str = "",
) -> None:
    meta = obj.metadata
    try:
        await client.patch(
            type(obj),
            meta.name,
            meta.namespace,
            body,
            content_type=MERGE_PATCH,
            manager=MANAGER,
            subresource=subresource,
        )
    except NotFound:
        return  # gone: its event brings the key back
