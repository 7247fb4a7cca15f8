"""patch: an object changed by what differs, or by what somebody applies."""

from collections.abc import Callable, Mapping
from typing import Any

from ketch.kube.errors import AlreadyExists, BadRequest, UnsupportedMedia
from ketch.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from ketch.local.apiserver import metadata, patches
from ketch.local.apiserver.answers import ObjectAnswer
from ketch.local.apiserver.copying import fresh
from ketch.local.apiserver.custom.conversion import as_served
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.base import Context
from ketch.local.apiserver.verbs.changes import applicable
from ketch.local.apiserver.verbs.reading import not_found, store_key
from ketch.local.apiserver.verbs.writing import (
    ATTEMPTS,
    MODIFIED,
    Obj,
    WriteHandlers,
    check_uid,
    conflict,
    well_formed,
)

PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
COUNTS_FOR_STATUS = frozenset({"apiVersion", "kind", "metadata", "status"})
"""What a write of the status looks at; the rest stays as it is."""


class PatchHandlers:
    """Works out what a patch makes of the newest object; ``writes`` writes it."""

    def __init__(self, store: Store, writes: WriteHandlers, context_for: Callable[[Call], Context]) -> None:
        self._store = store
        self._writes = writes
        self._context_for = context_for

    async def patch(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        """Change an object by a patch; apply also creates. Raises as update, and UnsupportedMedia."""
        content_type = call.content_type
        if content_type not in PATCH_TYPES or (content_type == STRATEGIC_MERGE_PATCH and resource.custom):
            supported = [kind for kind in PATCH_TYPES if not (resource.custom and kind == STRATEGIC_MERGE_PATCH)]
            shown = ", ".join(supported)
            raise UnsupportedMedia(
                f"the body of the request was in an unknown format - accepted media types include: {shown}"
            )
        if content_type == APPLY_PATCH:
            return await self._apply(call, target, resource)
        if call.query.get("force") is not None:
            raise BadRequest("force: may only be set for server-side apply")
        warnings: tuple[str, ...] = ()

        def change(newest: Mapping[str, Any]) -> Obj:
            nonlocal warnings
            told = newest["metadata"]["resourceVersion"]
            if target.subresource == "status" and content_type in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
                newest = {name: item for name, item in newest.items() if name in COUNTS_FOR_STATUS}
            try:
                patched = fresh(patches.patched(content_type, newest, call.body, resource.schema))
            except (AttributeError, KeyError, TypeError) as error:
                raise BadRequest(f"the patch does not fit a {resource.kind}: {error}") from error
            metadata.check_path(patched, resource, target.namespace, target.name)
            patched, warnings = self._writes.understood(call, resource, patched)
            asked = patched["metadata"].get("resourceVersion")
            if asked and asked != told:
                raise conflict(resource, target.name, MODIFIED)
            check_uid(resource, patched, newest)
            return patched

        record, value = await self._writes.rewrite(call, target, resource, change)
        return ObjectAnswer(resource, record, as_served(resource, value), warnings=(*warnings, *call.warnings))

    async def _apply(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        if not call.query.get("fieldManager"):
            raise BadRequest(
                "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
            )
        body = call.object_body(resource.kind)
        metadata.check_path(body, resource, target.namespace, target.name)
        if body["metadata"].get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        applied, warnings = self._writes.understood(call, resource, body)
        applied = applicable(resource, applied, target.subresource)
        force = call.flag("force")

        def merged(live: Mapping[str, Any] | None) -> Obj:
            manager = self._writes.manager(call, resource, target.subresource, self._context_for(call))
            return fresh(patches.apply(live, applied, resource.schema, manager, force=force))

        def change(newest: Mapping[str, Any]) -> Obj:
            told = applied["metadata"].get("resourceVersion")
            if told and told != newest["metadata"]["resourceVersion"]:
                raise conflict(resource, target.name, MODIFIED)
            check_uid(resource, applied, newest)
            with well_formed(resource, applied):
                return merged(newest)

        for _ in range(ATTEMPTS):
            if self._store.newest(store_key(resource, target)) is None:
                if target.subresource:
                    raise not_found(resource, target.name)
                if applied["metadata"].get("uid"):
                    raise conflict(resource, target.name, MODIFIED)
                try:
                    answer = await self._apply_first(call, target, resource, merged)
                except AlreadyExists:
                    continue
                answer.warnings = (*warnings, *call.warnings)
                return answer
            record, value = await self._writes.rewrite(call, target, resource, change)
            return ObjectAnswer(resource, record, as_served(resource, value), warnings=(*warnings, *call.warnings))
        raise conflict(resource, target.name, MODIFIED)

    async def _apply_first(
        self, call: Call, target: Target, resource: ServedResource, merged: Callable[[None], Obj]
    ) -> ObjectAnswer:
        """Create what is applied to an absent object, owned by the applier."""
        first = merged(None)
        managed = first["metadata"]["managedFields"]

        def own(made: Obj) -> Obj:
            made["metadata"]["managedFields"] = managed
            return made

        return await self._writes.create_owned(call, target, resource, first, own)
