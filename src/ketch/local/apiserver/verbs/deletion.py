"""delete and deletecollection: at once, gracefully, or when the last finalizer is gone."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec

from ketch.kube.codec import format_time
from ketch.kube.errors import BadRequest, Conflict, NotFound
from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.admission.gate import Gate, asked_of
from ketch.local.apiserver.answers import ListAnswer, ObjectAnswer
from ketch.local.apiserver.copying import fresh
from ketch.local.apiserver.custom.conversion import as_served, served
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Record, WriteConflict
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.base import Context, Strategy
from ketch.local.apiserver.verbs.reading import ReadHandlers, not_found, store_key
from ketch.local.apiserver.verbs.writing import conflict

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
POLICIES = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": None}


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _Options(msgspec.Struct, rename="camel"):
    """metav1.DeleteOptions."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: _Preconditions | None = None
    dry_run: list[str] | None = None


def _options(call: Call) -> _Options:
    try:
        options = msgspec.convert({} if call.body is None else call.body, _Options)
    except msgspec.ValidationError as error:
        raise BadRequest(f"DeleteOptions: {error}") from error
    if (seconds := call.number("gracePeriodSeconds")) is not None:
        options.grace_period_seconds = seconds
    options.propagation_policy = call.query.get("propagationPolicy") or options.propagation_policy
    if options.propagation_policy not in (None, *POLICIES):
        supported = ", ".join(f'"{name}"' for name in POLICIES)
        raise BadRequest(
            f'propagationPolicy: Unsupported value: "{options.propagation_policy}": supported values: {supported}'
        )
    if options.grace_period_seconds is not None and options.grace_period_seconds < 0:
        options.grace_period_seconds = 1
    if options.orphan_dependents and options.propagation_policy is None:
        options.propagation_policy = "Orphan"
    return options


class DeleteHandlers:
    """Deleting is a write like any other: decided on the newest state, answered when on disk."""

    def __init__(
        self,
        store: Store,
        reads: ReadHandlers,
        strategy_for: Callable[[ServedResource], Strategy],
        context_for: Callable[[Call], Context],
        gate: Gate,
    ) -> None:
        self._gate = gate
        self._store = store
        self._reads = reads
        self._strategy_for = strategy_for
        self._context_for = context_for

    async def delete(self, call: Call, target: Target, resource: ServedResource) -> ObjectAnswer:
        """Delete one object. Raises NotFound, Conflict (preconditions), BadRequest."""
        options = _options(call)
        dry_run = call.dry_run or bool(options.dry_run)
        current = self._store.newest(store_key(resource, target))
        if current is None:
            raise not_found(resource, target.name)
        self._check(resource, current.value, options.preconditions)
        if not self._gate.idle:
            current = await self._asked(call, target, resource, current, dry_run=dry_run)
        obj = self._marked(call, resource, current.value, options)
        if obj is None:
            if not dry_run:
                await self._remove(resource, current)
            return ObjectAnswer(value=_success(resource, current.value), warnings=tuple(call.warnings))
        if obj == current.value or dry_run:
            await self._store.settled(current)
            return ObjectAnswer(resource, value=obj)

        def build(revision: int, obj: dict[str, Any] = obj) -> dict[str, Any]:
            obj["metadata"]["resourceVersion"] = str(revision)
            return obj

        record = await self._store.put(current.key, build, expected=current.revision)
        return ObjectAnswer(resource, record)

    async def _asked(
        self, call: Call, target: Target, resource: ServedResource, current: Record, *, dry_run: bool
    ) -> Record:
        """The newest record, once nobody objects. Raises APIError for a refusal, NotFound."""
        (old,) = await served(resource, [current])
        asked = replace(asked_of(call, target, resource, (None, as_served(resource, old.value))), dry_run=dry_run)
        await self._gate.mutate(asked, call.warnings)
        await self._gate.validate(asked, call.warnings)
        newest = self._store.newest(current.key)
        if newest is None or newest.value["metadata"]["uid"] != current.value["metadata"]["uid"]:
            raise not_found(resource, target.name)
        return newest

    async def delete_collection(self, call: Call, target: Target, resource: ServedResource) -> ListAnswer:
        """Delete all that a list with the same parameters would show."""
        page = self._reads.list(call, target, resource)
        for record in page.records:
            one = Target(**{**_fields(target), "name": record.key.name, "namespace": record.key.namespace})
            try:
                await self.delete(call, one, resource)
            except (NotFound, WriteConflict):
                continue
            except Conflict as error:
                raise error from None
        return page

    def _check(self, resource: ServedResource, value: Mapping[str, Any], wanted: _Preconditions | None) -> None:
        if wanted is None:
            return
        meta = value["metadata"]
        if wanted.uid and wanted.uid != meta["uid"]:
            why = f"Precondition failed: UID in precondition: {wanted.uid}, UID in object meta: {meta['uid']}"
            raise conflict(resource, meta["name"], why)
        if wanted.resource_version and wanted.resource_version != meta["resourceVersion"]:
            why = (
                f"Precondition failed: ResourceVersion in precondition: {wanted.resource_version}, "
                f"ResourceVersion in object meta: {meta['resourceVersion']}"
            )
            raise conflict(resource, meta["name"], why)

    def _marked(
        self, call: Call, resource: ServedResource, value: Mapping[str, Any], options: _Options
    ) -> dict[str, Any] | None:
        """The object as its deletion leaves it for now; None when nothing holds it."""
        strategy, now = self._strategy_for(resource), self._context_for(call).now.replace(microsecond=0)
        meta = value["metadata"]
        finalizers = list(meta.get("finalizers") or NO_ITEMS)
        if options.propagation_policy is not None:
            added = POLICIES[options.propagation_policy]
            finalizers = [item for item in finalizers if item not in (FOREGROUND, ORPHAN)]
            finalizers += [added] if added else []
        seconds = strategy.grace_seconds(value, options.grace_period_seconds)
        if "deletionTimestamp" in meta:
            # A second delete may only shorten the wait.
            seconds = min(seconds, meta.get("deletionGracePeriodSeconds") or 0)
        if not (seconds or finalizers or strategy.deletion_hooks(value)):
            return None
        obj = fresh(value)
        marked = obj["metadata"]
        if "deletionTimestamp" not in meta or seconds != meta.get("deletionGracePeriodSeconds"):
            marked["deletionTimestamp"] = format_time(now + timedelta(seconds=seconds))
            marked["deletionGracePeriodSeconds"] = seconds
        if "deletionTimestamp" not in meta and "generation" in meta:
            marked["generation"] = meta["generation"] + 1
        if finalizers:
            marked["finalizers"] = finalizers
        else:
            marked.pop("finalizers", None)
        strategy.begin_deletion(obj)
        return obj

    async def _remove(self, resource: ServedResource, current: Record) -> None:
        meta = current.value["metadata"]

        def build(revision: int) -> dict[str, Any]:
            return {**current.value, "metadata": {**meta, "resourceVersion": str(revision)}}

        record = await self._store.remove(current.key, build, expected=current.revision)
        self._strategy_for(resource).removed(record.value)


def _fields(target: Target) -> dict[str, str]:
    return {name: getattr(target, name) for name in Target.__slots__}


def _success(resource: ServedResource, value: Mapping[str, Any]) -> dict[str, Any]:
    meta = value["metadata"]
    details = {"name": meta["name"], "group": resource.group, "kind": resource.plural, "uid": meta["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {name: text for name, text in details.items() if text},
    }
