"""Serving what CustomResourceDefinitions define."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ketch.kube.clock import Clock
from ketch.kube.codec import format_time
from ketch.kube.errors import NotFound
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.auth.identity import LOOPBACK
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import OBJECT_VERBS, Converter, PrinterColumn, Registry, ServedResource, storage_of
from ketch.local.apiserver.schemas import deferred_schema
from ketch.local.apiserver.store.records import Change, Record, StoreKey
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.store.watcher import Scope
from ketch.local.apiserver.strategies.definitions import CLEANUP, CRDS, WEBHOOK, accepted, established, names_accepted
from ketch.local.apiserver.verbs.deletion import DeleteHandlers
from ketch.local.apiserver.verbs.writing import WriteHandlers


def _deprecation(group: str, version: Mapping[str, Any], kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    return str(version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated")


def _schema_in(record: Record, version: str) -> Mapping[str, Any] | None:
    """The schema of one version in a stored definition."""
    versions = record.value["spec"]["versions"]
    return next(each.get("schema") or NOTHING for each in versions if each["name"] == version).get("openAPIV3Schema")


def served_versions(record: Record, converter: Converter | None = None) -> Iterator[ServedResource]:
    """The resources that a stored definition asks for, in priority of their versions as written."""
    definition = record.value
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    ending = _ending(definition)
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or NOTHING
        columns = [
            PrinterColumn(
                item["name"],
                item["type"],
                item["jsonPath"],
                item.get("format", ""),
                item.get("description", ""),
                item.get("priority", 0),
            )
            for item in version.get("additionalPrinterColumns") or NO_ITEMS
        ]
        yield ServedResource(
            group=group,
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            namespaced=spec["scope"] == "Namespaced",
            schema=deferred_schema(partial(_schema_in, record, version["name"])),
            storage=storage_of(group, names["plural"]),
            stored_api_version=f"{group}/{stored}",
            short_names=tuple(names.get("shortNames") or NO_ITEMS),
            categories=tuple(names.get("categories") or NO_ITEMS),
            verbs=tuple(verb for verb in OBJECT_VERBS if verb != "create") if ending else OBJECT_VERBS,
            has_status="status" in subresources,
            has_scale="scale" in subresources,
            scale_paths=subresources.get("scale") or NOTHING,
            columns=tuple(columns),
            selectable_fields=tuple(
                item["jsonPath"].lstrip(".") for item in version.get("selectableFields") or NO_ITEMS
            ),
            custom=True,
            mixed=len((definition.get("status") or NOTHING).get("storedVersions") or NO_ITEMS) > 1,
            deprecation=_deprecation(group, version, names["kind"]),
            converter=converter,
        )


class CustomResources:
    """Keeps the registry true to the definitions in the store, and empties what deleted ones leave behind."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        writes: WriteHandlers,
        deletes: DeleteHandlers,
        clock: Clock,
        converter_for: Callable[[Mapping[str, Any]], Converter],
    ) -> None:
        self._store = store
        self._registry = registry
        self._writes = writes
        self._deletes = deletes
        self._clock = clock
        self._converter_for = converter_for
        self._converters: dict[str, Converter] = {}
        self._cleaning: dict[str, asyncio.Task[None]] = {}
        for record in store.list(CRDS):
            self._take(record)
        store.observe(CRDS, self._changed)

    def _changed(self, change: Change) -> None:
        """Called in the turn in which the definition's write is answered: who created it may use it at once."""
        value, before = change.record.value, change.previous.value if change.previous else None
        if change.deleted:
            self._registry.remove(value["spec"]["group"], value["spec"]["names"]["plural"])
            if gone := self._converters.pop(value["metadata"]["name"], None):
                gone.close()
            self._reconsider(value)
        elif before is None or _served_state(before) != _served_state(value):
            self._take(change.record)

    def _take(self, record: Record) -> None:
        definition = record.value
        spec, name = definition["spec"], definition["metadata"]["name"]
        if established(definition):
            converter = self._converter(name, definition)
            self._registry.install(spec["group"], spec["names"]["plural"], served_versions(record, converter))
        if _ending(definition) and name not in self._cleaning:
            task = asyncio.get_running_loop().create_task(self._clean(name, record))
            self._cleaning[name] = task
            task.add_done_callback(lambda _: self._cleaning.pop(name, None))

    def _converter(self, name: str, definition: Mapping[str, Any]) -> Converter | None:
        """Who converts the definition's objects; None when no more than their apiVersion differs."""
        before = self._converters.pop(name, None)
        if before is not None:
            before.close()
        if (definition["spec"].get("conversion") or NOTHING).get("strategy") != WEBHOOK:
            return None
        made = self._converters[name] = self._converter_for(definition)
        return made

    async def _clean(self, name: str, record: Record) -> None:
        """Delete a definition's objects; when the last is gone, let the definition go."""
        spec = record.value["spec"]
        group, plural = spec["group"], spec["names"]["plural"]
        storage = storage_of(group, plural)
        resource = next((item for item in served_versions(record)), None)
        if resource is not None:
            watcher, _ = self._store.watch(Scope(storage), None)
            try:
                for each in tuple(self._store.list(storage)):
                    await self._delete(resource, each.key)
                while self._store.count(storage) and not watcher.closed:
                    await watcher.changes()
            finally:
                self._store.unwatch(watcher)
        await self._release(name)

    async def _delete(self, resource: ServedResource, key: StoreKey) -> None:
        group, version, plural = resource.group, resource.version, resource.plural
        target = Target(group, version, plural, key.namespace, key.name, "", "delete")
        with contextlib.suppress(NotFound):
            await self._deletes.delete(Call(LOOPBACK, "DELETE", ""), target, resource)

    def _reconsider(self, gone: Mapping[str, Any]) -> None:
        """A definition went: one that wanted its names may have them now."""
        for record in self._store.list(CRDS):
            name, spec = record.key.name, record.value["spec"]
            if spec["group"] == gone["spec"]["group"] and not names_accepted(record.value):
                task = asyncio.get_running_loop().create_task(self._accept(name))
                self._cleaning[f"accept {name}"] = task
                task.add_done_callback(lambda _, name=name: self._cleaning.pop(f"accept {name}", None))

    async def _accept(self, name: str) -> None:
        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            now = format_time(self._clock.now().replace(microsecond=0))
            return {**newest, "status": accepted(newest, [each.value for each in self._store.list(CRDS)], now)}

        target = _definition_target(name, "status")
        with contextlib.suppress(NotFound):
            resource = self._registry.find(target.group, target.version, target.plural)
            await self._writes.rewrite(Call(LOOPBACK, "PUT", ""), target, resource, change)

    async def _release(self, name: str) -> None:
        target = _definition_target(name, "")
        resource = self._registry.find(target.group, target.version, target.plural)

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            finalizers = [item for item in newest["metadata"].get("finalizers") or NO_ITEMS if item != CLEANUP]
            return {**newest, "metadata": {**newest["metadata"], "finalizers": finalizers}}

        with contextlib.suppress(NotFound):
            await self._writes.rewrite(Call(LOOPBACK, "PUT", ""), target, resource, change)

    async def close(self) -> None:
        """Stop cleaning; the next start goes on."""
        for converter in self._converters.values():
            converter.close()
        tasks = tuple(self._cleaning.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _definition_target(name: str, subresource: str) -> Target:
    return Target("apiextensions.k8s.io", "v1", "customresourcedefinitions", "", name, subresource, "update")


def _served_state(definition: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a definition decides how its objects are served."""
    stored = (definition.get("status") or NOTHING).get("storedVersions")
    return definition["spec"], stored, _ending(definition), established(definition)


def _ending(definition: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in definition["metadata"]
