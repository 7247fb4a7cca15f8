"""The catalogue as the REST API writes it: what is a Kubernetes object is changed there, and its row at once too."""

import re
from collections.abc import Mapping
from typing import Any, Final

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import AlreadyExists as ObjectExists
from ketch.kube.errors import APIError, TransportError
from ketch.kube.errors import NotFound as ObjectNotFound
from ketch.kube.meta import ObjectMeta
from ketch.kube.transport import MERGE_PATCH
from ketch.metadata.database import Database
from ketch.pipelines.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, Unavailable
from ketch.pipelines.native.reconcilers import MANAGER
from ketch.pipelines.native.rows import key_of, version_row
from ketch.pipelines.native.store import NativeStore
from ketch.pipelines.native.types import PipelineObject, PipelineVersionObject, PipelineVersionObjectSpec
from ketch.pipelines.records.catalog import MAX_VERSION_NAME, Label, PipelineStore, Source
from ketch.pipelines.records.listing import ListQuery
from ketch.pipelines.records.tables import Pipeline, PipelineVersion

_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
Kind = type[PipelineObject] | type[PipelineVersionObject]


class NativeCatalogue(PipelineStore):
    """The catalogue of both kinds of pipelines. The object is written first: should this process end then, the
    reconciler brings the row after it."""

    def __init__(self, database: Database, clock: Clock, client: Client) -> None:
        super().__init__(database, clock)
        self._client, self._rows = client, NativeStore(database)

    async def create_version(self, pipeline_id: str, label: Label, source: Source) -> PipelineVersion:
        """A version of a pipeline. Raises InvalidInput, NotFound, AlreadyExists, Unavailable."""
        origin = (await self.get(pipeline_id)).origin
        if not origin:
            return await super().create_version(pipeline_id, label, source)
        checked = label.checked("pipeline version", MAX_VERSION_NAME)
        if not _OBJECT_NAME.fullmatch(checked.name):
            raise InvalidInput(
                f"name: {checked.name!r} cannot name a Kubernetes object, which versions of this pipeline are: "
                "use lower-case letters, digits, '-' and '.'"
            )
        key = key_of(origin)
        obj = PipelineVersionObject(
            metadata=ObjectMeta(name=checked.name, namespace=key.namespace),
            spec=PipelineVersionObjectSpec(
                pipeline_name=key.name,
                display_name=checked.display_name,
                description=checked.description,
                code_source_url=source.code_source_url,
                pipeline_spec=source.specification.pipeline,
                platform_spec=source.specification.platform or {},
                tags=checked.tags,
            ),
        )
        try:
            pipeline = await self._client.get(PipelineObject, key.name, key.namespace)
            made = await self._client.create(obj, manager=MANAGER)
        except ObjectExists as error:
            raise AlreadyExists(
                f"Failed to create a new pipeline version {checked.name}. The name already exists. "
                "Please specify a new name"
            ) from error
        except (APIError, TransportError) as error:
            raise _refused(error) from error
        row = version_row(made, pipeline, source.specification)
        await self._rows.keep_version(row)
        return row

    async def update(self, pipeline_id: str, display_name: str, tags: Mapping[str, str] | None) -> Pipeline:
        """Change the display name (unless empty) and the tags (unless None). Raises InvalidInput, NotFound."""
        row = await self.get(pipeline_id)
        await self._change(PipelineObject, row, display_name, tags)
        return await super().update(pipeline_id, display_name, tags)

    async def update_version(
        self, version_id: str, display_name: str, tags: Mapping[str, str] | None
    ) -> PipelineVersion:
        """Change the display name (unless empty) and the tags (unless None). Raises InvalidInput, NotFound."""
        row = await self.version(version_id)
        await self._change(PipelineVersionObject, row, display_name, tags)
        return await super().update_version(version_id, display_name, tags)

    async def delete(self, pipeline_id: str, *, cascade: bool) -> None:
        """Remove the pipeline, its versions too if ``cascade``. Raises NotFound, FailedPrecondition."""
        row = await self.get(pipeline_id)
        if row.origin:
            await self._delete_native(row, cascade=cascade)
        else:
            await super().delete(pipeline_id, cascade=cascade)

    async def delete_version(self, version_id: str) -> None:
        """Raises NotFound."""
        row = await self.version(version_id)
        if not row.origin:
            await super().delete_version(version_id)
            return
        await self._delete_object(PipelineVersionObject, row.origin)
        await self._rows.forget_version(row.origin)

    async def _delete_native(self, row: Pipeline, *, cascade: bool) -> None:
        if not cascade and (count := (await self.list_versions(row.id, ListQuery(1))).total):
            raise FailedPrecondition(
                f"Failed to delete pipeline {row.name}: it has {count} version(s); "
                "delete them first, or set cascade=true"
            )
        await self._delete_object(PipelineObject, row.origin)  # its versions go with it
        await self._rows.forget_pipeline(row.origin)

    async def _change(
        self, kind: Kind, row: Pipeline | PipelineVersion, display_name: str, tags: Mapping[str, str] | None
    ) -> None:
        spec: dict[str, Any] = {"displayName": display_name} if display_name else {}
        if tags is not None:
            spec["tags"] = dict.fromkeys(row.tags) | dict(tags)
        if not row.origin or not spec:
            return
        key = key_of(row.origin)
        try:
            await self._client.patch(
                kind, key.name, key.namespace, {"spec": spec}, content_type=MERGE_PATCH, manager=MANAGER
            )
        except (APIError, TransportError) as error:
            raise _refused(error) from error

    async def _delete_object(self, kind: Kind, origin: str) -> None:
        key = key_of(origin)
        try:
            await self._client.delete(kind, key.name, key.namespace)
        except ObjectNotFound:
            return  # the row is all that is left
        except (APIError, TransportError) as error:
            raise _refused(error) from error


def _refused(error: APIError | TransportError) -> InvalidInput | NotFound | Unavailable:
    """What the API server said, to whoever asked the REST API."""
    if isinstance(error, ObjectNotFound):
        return NotFound(error.message)
    if isinstance(error, APIError):
        return InvalidInput(error.message)
    return Unavailable(f"the Kubernetes API cannot be reached: {error}")
