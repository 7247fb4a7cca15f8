"""create, update and patch: from a body to a durable object."""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from ketch.kube.clock import Clock
from ketch.kube.codec import format_time
from ketch.kube.errors import (
    AlreadyExists,
    APIError,
    BadRequest,
    Cause,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    StatusDetails,
    TooLarge,
    UnsupportedMedia,
)
from ketch.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from ketch.local.apiserver import metadata, patches
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.answers import ObjectAnswer
from ketch.local.apiserver.conversion import as_served, as_stored
from ketch.local.apiserver.copying import fresh
from ketch.local.apiserver.reading import not_found, store_key
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Record, StoreKey, StoreUnavailable, WriteConflict
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.base import Context, Strategy

Obj = dict[str, Any]
Change = Callable[[Mapping[str, Any]], Obj]
"""Makes the new object, in the version of the call, from the newest one."""

ATTEMPTS = 8
LARGEST_OBJECT = 3 * 1024 * 1024
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
COUNTS_FOR_STATUS = frozenset({"apiVersion", "kind", "metadata", "status"})
"""What a write of the status looks at; the rest stays as it is."""


def invalid(resource: ServedResource, name: str, causes: Sequence[Cause]) -> Invalid:
    """The 422 that names every field at fault."""
    texts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    shown = f'{resource.kind}.{resource.group} "{name}"' if resource.group else f'{resource.kind} "{name}"'
    details = StatusDetails(name=name, group=resource.group, kind=resource.kind, causes=tuple(causes))
    return Invalid(f"{shown} is invalid: {text}", details)


def conflict(resource: ServedResource, name: str, why: str) -> Conflict:
    """The 409 for a write that someone else overtook."""
    details = StatusDetails(name=name, group=resource.group, kind=resource.plural)
    return Conflict(f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}', details)


class WriteHandlers:
    """Every write goes: understand, complete, check, stage, wait for the disk.

    Between reading the newest state and staging nothing waits, so that two writers cannot both win; ``contexts``
    makes what strategies see, ``strategies`` finds a kind's.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        strategy_for: Callable[[ServedResource], Strategy],
        context_for: Callable[[Call], Context],
    ) -> None:
        self._store = store
        self._clock = clock
        self._strategy_for = strategy_for
        self._context_for = context_for

    # create ---------------------------------------------------------------------------------------------------

    async def create(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        """Create an object. Raises AlreadyExists, Invalid, Forbidden, NotFound (namespace), BadRequest."""
        obj = call.object_body(resource.kind)
        metadata.check_path(obj, resource, target.namespace, target.name)
        return await self._create(call, target, resource, obj, lambda made: made)

    async def _create(
        self, call: Call, target: Target, resource: ServedResource, obj: Obj, own: Callable[[Obj], Obj]
    ) -> ObjectAnswer:
        obj, warnings = self._understood(call, resource, obj)
        obj["metadata"] = dict(obj["metadata"])
        base = str(obj["metadata"].get("generateName") or "")
        generated = bool(base) and not obj["metadata"].get("name")
        for attempt in range(ATTEMPTS):
            if generated:
                obj["metadata"]["name"] = metadata.generated_name(base)
            try:
                record, made = await self._create_once(call, target, resource, obj, own)
            except WriteConflict as taken:
                if generated and attempt < ATTEMPTS - 1:
                    continue
                name = obj["metadata"]["name"]
                details = StatusDetails(name=name, group=resource.group, kind=resource.plural)
                raise AlreadyExists(f'{resource.qualified} "{name}" already exists', details) from taken
            return ObjectAnswer(resource, record, as_served(resource, made), code=201, warnings=warnings)
        raise AssertionError

    async def _create_once(
        self, call: Call, target: Target, resource: ServedResource, obj: Obj, own: Callable[[Obj], Obj]
    ) -> tuple[Record | None, Obj]:
        strategy, context = self._strategy_for(resource), self._context_for(call)
        if "create" not in resource.verbs:
            raise MethodNotAllowed("create not allowed while custom resource definition is terminating")
        made = as_stored(resource, fresh(obj))
        if resource.has_status:
            made.pop("status", None)
        with _well_formed(resource, made):
            resource.schema.default(made)
            metadata.begin(made, target.namespace if resource.namespaced else "", context.now)
            metadata.advance_generation(resource, made, None)
            # What the rules of the kind add after this is nobody's: no later applier takes it away.
            made = own(made) if call.content_type == APPLY_PATCH else self._owned(call, resource, made, context)
        name = str(made["metadata"].get("name", ""))
        self._check_namespace(resource, target.namespace, name)
        key = StoreKey(resource.storage, target.namespace if resource.namespaced else "", name)
        if self._store.newest(key) is not None:
            raise WriteConflict(self._store.newest(key))
        try:
            with _well_formed(resource, made):
                strategy.prepare_create(made, context)
                self._check(resource, strategy, made, None, context)
            if call.dry_run:
                strategy.abandoned(made)
                return None, made
            record = await self._store.put(key, _stamped(made), expected=None)
        except (APIError, StoreUnavailable):
            # Not when cancelled: what is staged will be written, whoever still waits for it.
            strategy.abandoned(made)
            raise
        strategy.created(record.value)
        return record, record.value

    def _owned(self, call: Call, resource: ServedResource, made: Obj, context: Context) -> Obj:
        """A new object, owned by its creator but for the status, which is the server's."""
        rest = {name: item for name, item in made.items() if name != "status" or not resource.has_status}
        owned = patches.take_ownership(None, rest, resource.schema, self._manager(call, resource, "", context))
        return {**made, "metadata": owned["metadata"]}

    def _check_namespace(self, resource: ServedResource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self._store.newest(StoreKey("/namespaces", "", namespace))
        if found is None:
            details = StatusDetails(name=namespace, kind="namespaces")
            raise NotFound(f'namespaces "{namespace}" not found', details)
        if "deletionTimestamp" in found.value["metadata"] and resource.storage != "/events":
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
            details = StatusDetails(name=name, group=resource.group, kind=resource.plural, causes=(cause,))
            raise Forbidden(f'{resource.qualified} "{name}" is forbidden: {why}', details)

    # update and patch -------------------------------------------------------------------------------------------

    async def update(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        """Replace an object, or its status. Raises Conflict, NotFound, Invalid, BadRequest."""
        obj = call.object_body(resource.kind)
        metadata.check_path(obj, resource, target.namespace, target.name)
        obj, warnings = self._understood(call, resource, obj)
        told = obj["metadata"].get("resourceVersion")

        def change(newest: Mapping[str, Any]) -> Obj:
            if told and told != newest["metadata"]["resourceVersion"]:
                raise conflict(resource, target.name, MODIFIED)
            _check_uid(resource, obj, newest)
            return fresh(obj)

        record, value = await self.rewrite(call, target, resource, change)
        return ObjectAnswer(resource, record, as_served(resource, value), warnings=warnings)

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
            patched, warnings = self._understood(call, resource, patched)
            asked = patched["metadata"].get("resourceVersion")
            if asked and asked != told:
                raise conflict(resource, target.name, MODIFIED)
            _check_uid(resource, patched, newest)
            return patched

        record, value = await self.rewrite(call, target, resource, change)
        return ObjectAnswer(resource, record, as_served(resource, value), warnings=warnings)

    async def _apply(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        if not call.query.get("fieldManager"):
            raise BadRequest(
                "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
            )
        body = call.object_body(resource.kind)
        metadata.check_path(body, resource, target.namespace, target.name)
        if body["metadata"].get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        applied, warnings = self._understood(call, resource, body)
        applied = _applicable(resource, applied, target.subresource)
        force = call.flag("force")

        def merged(live: Mapping[str, Any] | None) -> Obj:
            manager = self._manager(call, resource, target.subresource, self._context_for(call))
            return fresh(patches.apply(live, applied, resource.schema, manager, force=force))

        def change(newest: Mapping[str, Any]) -> Obj:
            told = applied["metadata"].get("resourceVersion")
            if told and told != newest["metadata"]["resourceVersion"]:
                raise conflict(resource, target.name, MODIFIED)
            _check_uid(resource, applied, newest)
            with _well_formed(resource, applied):
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
                answer.warnings = warnings
                return answer
            record, value = await self.rewrite(call, target, resource, change)
            return ObjectAnswer(resource, record, as_served(resource, value), warnings=warnings)
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

        return await self._create(call, target, resource, first, own)

    async def rewrite(
        self, call: Call, target: Target, resource: ServedResource, change: Change
    ) -> tuple[Record | None, Obj]:
        """Replace the newest object by what ``change`` makes of it; writes nothing when nothing changes.

        The record is None for a dry run. Raises what ``change`` raises, NotFound, Invalid.
        """
        key = store_key(resource, target)
        strategy, context = self._strategy_for(resource), self._context_for(call)
        current = self._store.newest(key)
        if current is None:
            raise not_found(resource, target.name)
        old = current.value
        obj = as_stored(resource, change(as_served(resource, old)))
        obj["metadata"] = dict(obj["metadata"])
        if target.subresource == "status":
            obj = _with_status(resource, obj, old)
        elif resource.has_status:
            _take(obj, old, "status")
        with _well_formed(resource, obj):
            if target.subresource != "status" or resource.custom:
                resource.schema.default(obj)
            metadata.keep(obj, old)
            strategy.prepare_update(obj, old, context)
        if call.content_type != APPLY_PATCH:
            obj = patches.take_ownership(
                old, obj, resource.schema, self._manager(call, resource, target.subresource, context)
            )
        if _same(obj, old):
            return await self._settled(current), old
        with _well_formed(resource, obj):
            self._check(resource, strategy, obj, old, context)
        if target.subresource != "status":
            metadata.advance_generation(resource, obj, old)
        if call.dry_run:
            return None, obj
        if "deletionTimestamp" in obj["metadata"] and _may_go(strategy, obj):
            record = await self._store.remove(key, _stamped(obj), expected=current.revision)
            strategy.removed(record.value)
        else:
            record = await self._store.put(key, _stamped(obj), expected=current.revision)
        return record, record.value

    async def bind(self, call: Call, target: Target, resource: ServedResource, change: Change) -> None:
        """Give a pod its node: the one change of its spec that the pod's own rules forbid."""
        key = store_key(resource, target)
        current = self._store.newest(key)
        if current is None:
            raise not_found(resource, target.name)
        obj = change(current.value)
        now = format_time(self._context_for(call).now.replace(microsecond=0))
        condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
        status = obj.setdefault("status", {})
        others = [item for item in status.get("conditions") or NO_ITEMS if item.get("type") != "PodScheduled"]
        status["conditions"] = [*others, condition]
        metadata.advance_generation(resource, obj, current.value)
        await self._store.put(key, _stamped(obj), expected=current.revision)

    async def finalize(self, call: Call, target: Target, resource: ServedResource, finalizers: list[str]) -> Record:
        """Replace a namespace's ``spec.finalizers``; without any it goes, if nothing else holds it."""
        key = store_key(resource, target)
        current = self._store.newest(key)
        if current is None:
            raise not_found(resource, target.name)
        obj: Obj = {**current.value, "metadata": {**current.value["metadata"]}}
        obj["spec"] = {**(obj.get("spec") or NOTHING), "finalizers": finalizers}
        strategy = self._strategy_for(resource)
        if "deletionTimestamp" in obj["metadata"] and _may_go(strategy, obj) and not call.dry_run:
            return await self._store.remove(key, _stamped(obj), expected=current.revision)
        return await self._store.put(key, _stamped(obj), expected=current.revision)

    async def _settled(self, record: Record) -> Record:
        """The newest record, once it is on disk: an answer must not run ahead of the log."""
        await self._store.settled(record)
        return record

    # shared -------------------------------------------------------------------------------------------------------

    def _understood(self, call: Call, resource: ServedResource, obj: Obj) -> tuple[Obj, tuple[str, ...]]:
        """Drop unknown fields as the caller's ``fieldValidation`` says. Raises BadRequest for Strict."""
        mode = call.query.get("fieldValidation") or "Warn"
        if mode not in ("Strict", "Warn", "Ignore"):
            raise BadRequest(
                f'fieldValidation: unsupported value "{mode}": supported values: "Ignore", "Strict", "Warn"'
            )
        pruned, unknown = resource.schema.prune(obj)
        deprecated = (resource.deprecation,) if resource.deprecation else ()
        if not unknown or mode == "Ignore":
            return pruned, deprecated
        messages = tuple(f'unknown field "{path}"' for path in unknown)
        if mode == "Warn":
            return pruned, (*deprecated, *messages)
        shown = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
        raise BadRequest(f"{shown}strict decoding error: {', '.join(messages)}")

    def _check(
        self, resource: ServedResource, strategy: Strategy, obj: Obj, old: Mapping[str, Any] | None, context: Context
    ) -> None:
        found = resource.schema.validate(obj, old)
        if not found:  # the rules of the kind expect an object of the right shape
            found = strategy.validate(obj, old, context)
        if found := [*metadata.causes(resource, obj), *found]:
            raise invalid(resource, obj["metadata"].get("name", ""), found)

    def _manager(self, call: Call, resource: ServedResource, subresource: str, context: Context) -> patches.Manager:
        operation = "Apply" if call.content_type == APPLY_PATCH else "Update"
        now = format_time(context.now.replace(microsecond=0))
        return patches.Manager(call.manager, operation, resource.api_version, now, subresource)


@contextlib.contextmanager
def _well_formed(resource: ServedResource, obj: Obj) -> Generator[None]:
    """Defaults and rules expect an object of the right shape; where they stumble, the schema says over what.

    Asked only then, so that good objects pay nothing. Raises Invalid.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        if causes := resource.schema.validate(obj):
            raise invalid(resource, str(obj["metadata"].get("name", "")), causes) from None
        raise


def _stamped(obj: Obj) -> Callable[[int], Obj]:
    def build(revision: int) -> Obj:
        obj["metadata"]["resourceVersion"] = str(revision)
        return obj

    return build


def _may_go(strategy: Strategy, obj: Mapping[str, Any]) -> bool:
    meta = obj["metadata"]
    return not (meta.get("finalizers") or meta.get("deletionGracePeriodSeconds") or strategy.deletion_hooks(obj))


def _applicable(resource: ServedResource, applied: Obj, subresource: str) -> Obj:
    """What of an applied object counts where status is a subresource: all but it, or it alone."""
    if subresource == "status":
        names = ("name", "namespace", "uid", "resourceVersion")
        meta = {name: applied["metadata"][name] for name in names if name in applied["metadata"]}
        return {
            **{name: applied[name] for name in ("apiVersion", "kind", "status") if name in applied},
            "metadata": meta,
        }
    if resource.has_status:
        return {name: item for name, item in applied.items() if name != "status"}
    return applied


def _take(obj: Obj, old: Mapping[str, Any], name: str) -> None:
    if name in old:
        obj[name] = old[name]
    else:
        obj.pop(name, None)


def _with_status(resource: ServedResource, obj: Obj, old: Mapping[str, Any]) -> Obj:
    """Only status counts, and of the metadata the labels and annotations of built-in kinds, as in Kubernetes."""
    if not resource.has_status:
        raise MethodNotAllowed(f"{resource.plural} have no status subresource")
    changed = {**old, "metadata": {**old["metadata"]}}
    if "managedFields" in obj["metadata"]:
        changed["metadata"]["managedFields"] = obj["metadata"]["managedFields"]
    if not resource.custom:
        for name in ("labels", "annotations"):
            _take(changed["metadata"], obj["metadata"], name)
    _take(changed, obj, "status")
    return changed


def _same(obj: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether nothing changed. Who owns what counts, when they wrote does not."""
    if any(obj.get(name) != old.get(name) for name in {*obj, *old} - {"metadata"}):
        return False
    new_meta, old_meta = dict(obj["metadata"]), dict(old["metadata"])
    new_managed, old_managed = new_meta.pop("managedFields", None), old_meta.pop("managedFields", None)
    new_meta.pop("resourceVersion", None)
    old_meta.pop("resourceVersion", None)
    return new_meta == old_meta and patches.same_ownership(new_managed, old_managed)


def too_large(size: int) -> APIError:
    """The 413 for a body over the limit."""
    return TooLarge(f"Request entity too large: limit is {LARGEST_OBJECT}, got {size}")


def _check_uid(resource: ServedResource, told: Mapping[str, Any], newest: Mapping[str, Any]) -> None:
    """Who names a uid means that very object, not another of its name. Raises Conflict."""
    uid, existing = told["metadata"].get("uid"), newest["metadata"]["uid"]
    if uid and uid != existing:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {existing}"
        raise conflict(resource, newest["metadata"]["name"], why)
