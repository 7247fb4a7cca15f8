"""create, update and patch: from a body to a durable object."""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
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
)
from ketch.kube.transport import APPLY_PATCH
from ketch.local.apiserver import metadata, patches
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.gate import Gate, asked_of
from ketch.local.apiserver.answers import ObjectAnswer
from ketch.local.apiserver.auth.identity import LOOPBACK
from ketch.local.apiserver.copying import fresh
from ketch.local.apiserver.custom.conversion import as_served, as_stored, served, stored
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Record, StoreKey, StoreUnavailable, WriteConflict
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.base import Context, Strategy
from ketch.local.apiserver.verbs.changes import may_go, same, stamped, take, with_status
from ketch.local.apiserver.verbs.reading import not_found, store_key

Obj = dict[str, Any]
Change = Callable[[Mapping[str, Any]], Obj]
"""Makes the new object, in the version of the call, from the newest one."""

ATTEMPTS = 8
SERVER = "ketch-apiserver"
"""The field manager of what the server itself writes."""
LARGEST_OBJECT = 3 * 1024 * 1024
APPROVAL = "approval"
"""The subresource of which conditions in the status are the content."""

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


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
        gate: Gate,
    ) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._strategy_for = strategy_for
        self._context_for = context_for

    @property
    def clock(self) -> Clock:
        """The server's time."""
        return self._clock

    # create ---------------------------------------------------------------------------------------------------

    async def create(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        """Create an object. Raises AlreadyExists, Invalid, Forbidden, NotFound (namespace), BadRequest."""
        obj = call.object_body(resource.kind)
        metadata.check_path(obj, resource, target.namespace, target.name)
        return await self.create_owned(call, target, resource, obj, lambda made: made)

    async def create_owned(
        self, call: Call, target: Target, resource: ServedResource, obj: Obj, own: Callable[[Obj], Obj]
    ) -> ObjectAnswer:
        """Create an object; ``own`` gives one that is applied its owners. Raises as ``create``."""
        obj, warnings = self.understood(call, resource, obj)
        if not self._gate.idle:
            self._check_namespace(resource, target.namespace, str(obj["metadata"].get("name", "")))
            obj = await self._changed_before(call, target, resource, obj)
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
            told = (*warnings, *call.warnings)
            return ObjectAnswer(resource, record, as_served(resource, made), code=201, warnings=told)
        raise AssertionError

    async def _changed_before(self, call: Call, target: Target, resource: ServedResource, obj: Obj) -> Obj:
        """A new object as webhooks want it; they see it completed."""
        shown = as_stored(resource, fresh(obj))
        if resource.has_status:
            shown.pop("status", None)
        with well_formed(resource, shown):
            resource.schema.default(shown)
        if resource.namespaced:
            shown["metadata"] = {**shown["metadata"], "namespace": target.namespace}
        asked = asked_of(call, target, resource, (as_served(resource, shown), None))
        changed = await self._gate.mutate(asked, call.warnings)
        if changed is asked.obj:
            return obj
        made, _ = resource.schema.prune(fresh(changed))
        metadata.check_path(made, resource, target.namespace, target.name)
        return made

    async def _create_once(
        self, call: Call, target: Target, resource: ServedResource, obj: Obj, own: Callable[[Obj], Obj]
    ) -> tuple[Record | None, Obj]:
        strategy, context = self._strategy_for(resource), self._context_for(call)
        if "create" not in resource.verbs:
            raise MethodNotAllowed("create not allowed while custom resource definition is terminating")
        made = as_stored(resource, fresh(obj))
        if resource.has_status:
            made.pop("status", None)
        with well_formed(resource, made):
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
            with well_formed(resource, made):
                strategy.prepare_create(made, context)
                self._check(resource, strategy, made, None, context)
            if not self._gate.idle:
                seen = asked_of(call, target, resource, (as_served(resource, made), None))
                await self._gate.validate(replace(seen, name=name), call.warnings)
            give_back = self._gate.charge(resource, key, made, new=True, dry_run=call.dry_run)
            if call.dry_run:
                strategy.abandoned(made)
                return None, made
        except APIError:
            strategy.abandoned(made)
            raise
        kept = made if resource.converter is None else await stored(resource, made)
        try:
            record = await self._store.put(key, stamped(kept), expected=None)
        except (StoreUnavailable, WriteConflict):
            # Not when cancelled: what is staged will be written, whoever still waits for it.
            give_back()
            strategy.abandoned(made)
            raise
        strategy.created(record.value)
        record = record if kept is made else _shown(record, made)
        return record, record.value

    def _owned(self, call: Call, resource: ServedResource, made: Obj, context: Context) -> Obj:
        """A new object, owned by its creator but for the status, which is the server's."""
        rest = {name: item for name, item in made.items() if name != "status" or not resource.has_status}
        owned = patches.take_ownership(None, rest, resource.schema, self.manager(call, resource, "", context))
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

    # update -------------------------------------------------------------------------------------------

    async def update(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        """Replace an object, or its status. Raises Conflict, NotFound, Invalid, BadRequest."""
        obj = call.object_body(resource.kind)
        metadata.check_path(obj, resource, target.namespace, target.name)
        obj, warnings = self.understood(call, resource, obj)
        told = obj["metadata"].get("resourceVersion")

        def change(newest: Mapping[str, Any]) -> Obj:
            if told and told != newest["metadata"]["resourceVersion"]:
                raise conflict(resource, target.name, MODIFIED)
            check_uid(resource, obj, newest)
            return fresh(obj)

        record, value = await self.rewrite(call, target, resource, change)
        return ObjectAnswer(resource, record, as_served(resource, value), warnings=(*warnings, *call.warnings))

    async def rewrite(
        self, call: Call, target: Target, resource: ServedResource, change: Change, by: str = ""
    ) -> tuple[Record | None, Obj]:
        """Replace the newest object by what ``change`` makes of it; writes nothing when nothing changes.

        The record is None for a dry run. ``by`` is the subresource that owns what it writes, where that is not the
        target's. Raises what ``change`` raises, NotFound, Invalid.
        """
        if self._gate.idle and resource.converter is None:
            return await self._rewrite(call, target, resource, change, by or target.subresource)
        for _ in range(ATTEMPTS):
            try:
                return await self._rewrite(call, target, resource, change, by or target.subresource)
            except WriteConflict:
                continue  # somebody wrote while others were asked
        raise conflict(resource, target.name, MODIFIED)

    async def _rewrite(
        self, call: Call, target: Target, resource: ServedResource, change: Change, by: str
    ) -> tuple[Record | None, Obj]:
        key = store_key(resource, target)
        strategy, context = self._strategy_for(resource), self._context_for(call)
        if target.subresource not in ("", "status"):
            context = replace(context, subresource=target.subresource)
        current = self._store.newest(key)
        if current is None:
            raise not_found(resource, target.name)
        old = current.value if resource.converter is None else (await served(resource, [current]))[0].value
        obj = _shaped(resource, target, as_stored(resource, change(as_served(resource, old))), old)
        if not self._gate.idle:
            asked = asked_of(call, target, resource, (as_served(resource, obj), as_served(resource, old)))
            changed = await self._gate.mutate(asked, call.warnings)
            if changed is not asked.obj:
                pruned, _ = resource.schema.prune(fresh(changed))
                obj = _shaped(resource, target, as_stored(resource, pruned), old)
        with well_formed(resource, obj):
            if target.subresource != "status" or resource.custom:
                resource.schema.default(obj)
            metadata.keep(obj, old)
            strategy.prepare_update(obj, old, context)
        if call.content_type != APPLY_PATCH:
            obj = patches.take_ownership(old, obj, resource.schema, self.manager(call, resource, by, context))
        if same(obj, old) and (resource.converter is None or not _outdated(resource, current)):
            return await self._settled(current), old
        with well_formed(resource, obj):
            self._check(resource, strategy, obj, old, context)
        if target.subresource != "status":
            metadata.advance_generation(resource, obj, old)
        if not self._gate.idle:
            asked = asked_of(call, target, resource, (as_served(resource, obj), as_served(resource, old)))
            await self._gate.validate(asked, call.warnings)
        return await self._replace(call, resource, current, obj)

    async def _replace(
        self, call: Call, resource: ServedResource, current: Record, obj: Obj
    ) -> tuple[Record | None, Obj]:
        """Write ``obj`` in the place of ``current``, or let it go where that was all that held it."""
        key, strategy = current.key, self._strategy_for(resource)
        give_back = self._gate.charge(resource, key, obj, new=False, dry_run=call.dry_run)
        if call.dry_run:
            return None, obj
        kept = obj if resource.converter is None else await stored(resource, obj)
        try:
            if "deletionTimestamp" in obj["metadata"] and may_go(strategy, obj):
                record = await self._store.remove(key, stamped(kept), expected=current.revision)
                strategy.removed(record.value)
            else:
                record = await self._store.put(key, stamped(kept), expected=current.revision)
        except (StoreUnavailable, WriteConflict):
            give_back()
            raise
        record = record if kept is obj else _shown(record, obj)
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
        if not call.dry_run:
            await self._store.put(key, stamped(obj), expected=current.revision)

    async def write_status(self, key: StoreKey, resource: ServedResource, status: Obj) -> None:
        """Replace a status by the server's own word; nothing happens when it says that already. Raises APIError."""
        target = Target(resource.group, resource.version, resource.plural, key.namespace, key.name, "status", "update")

        def change(newest: Mapping[str, Any]) -> Obj:
            return {**newest, "status": status}

        await self.rewrite(Call(LOOPBACK, "PUT", "", {"fieldManager": SERVER}), target, resource, change)

    async def finalize(self, call: Call, target: Target, resource: ServedResource, finalizers: list[str]) -> Record:
        """Replace a namespace's ``spec.finalizers``; without any it goes, if nothing else holds it."""
        key = store_key(resource, target)
        current = self._store.newest(key)
        if current is None:
            raise not_found(resource, target.name)
        obj: Obj = {**current.value, "metadata": {**current.value["metadata"]}}
        obj["spec"] = {**(obj.get("spec") or NOTHING), "finalizers": finalizers}
        strategy = self._strategy_for(resource)
        if call.dry_run:
            return Record(key, obj, current.revision)
        if "deletionTimestamp" in obj["metadata"] and may_go(strategy, obj):
            return await self._store.remove(key, stamped(obj), expected=current.revision)
        return await self._store.put(key, stamped(obj), expected=current.revision)

    async def _settled(self, record: Record) -> Record:
        """The newest record, once it is on disk: an answer must not run ahead of the log."""
        await self._store.settled(record)
        return record

    # shared -------------------------------------------------------------------------------------------------------

    def understood(self, call: Call, resource: ServedResource, obj: Obj) -> tuple[Obj, tuple[str, ...]]:
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

    def manager(self, call: Call, resource: ServedResource, subresource: str, context: Context) -> patches.Manager:
        """Who writes, for managedFields."""
        operation = "Apply" if call.content_type == APPLY_PATCH else "Update"
        now = format_time(context.now.replace(microsecond=0))
        return patches.Manager(call.manager, operation, resource.api_version, now, subresource)


@contextlib.contextmanager
def well_formed(resource: ServedResource, obj: Obj) -> Generator[None]:
    """Defaults and rules expect an object of the right shape; where they stumble, the schema says over what.

    Asked only then, so that good objects pay nothing. Raises Invalid.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        if causes := resource.schema.validate(obj):
            raise invalid(resource, str(obj["metadata"].get("name", "")), causes) from None
        raise


def _outdated(resource: ServedResource, record: Record) -> bool:
    """Whether an object is kept in a version that is no longer the one to keep."""
    return record.value.get("apiVersion") != resource.stored_api_version


def _shown(record: Record, obj: Obj) -> Record:
    """What was written, as its writer put it."""
    meta = {**obj["metadata"], "resourceVersion": record.value["metadata"]["resourceVersion"]}
    return Record(record.key, {**obj, "metadata": meta}, record.revision)


def _shaped(resource: ServedResource, target: Target, obj: Obj, old: Mapping[str, Any]) -> Obj:
    """What of a changed object counts: its status alone, or all but that."""
    obj["metadata"] = dict(obj["metadata"])
    if target.subresource == "status":
        return with_status(resource, obj, old)
    if resource.has_status and target.subresource != APPROVAL:
        take(obj, old, "status")
    return obj


def too_large(size: int) -> APIError:
    """The 413 for a body over the limit."""
    return TooLarge(f"Request entity too large: limit is {LARGEST_OBJECT}, got {size}")


def check_uid(resource: ServedResource, told: Mapping[str, Any], newest: Mapping[str, Any]) -> None:
    """Who names a uid means that very object, not another of its name. Raises Conflict."""
    uid, existing = told["metadata"].get("uid"), newest["metadata"]["uid"]
    if uid and uid != existing:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {existing}"
        raise conflict(resource, newest["metadata"]["name"], why)
