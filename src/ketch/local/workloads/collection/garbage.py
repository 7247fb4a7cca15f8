"""Garbage collector: what refers to owners goes when the last of them has gone; foreground deletions wait for it."""

from collections.abc import Sequence
from typing import Any

from ketch.kube.client import DeleteOptions
from ketch.kube.codec import encode
from ketch.kube.controller import Result
from ketch.kube.errors import NotFound
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey, OwnerReference
from ketch.kube.transport import MERGE_PATCH
from ketch.local.workloads.batches import together
from ketch.local.workloads.collection.discovering import Metadata, metadata_of
from ketch.local.workloads.collection.graph import (
    FOREGROUND,
    ORPHAN,
    Graph,
    Owners,
    is_deleting,
    leaves_orphans,
    reference_to,
    waits_for_dependents,
)
from ketch.local.workloads.collection.monitor import Monitor

MANAGER = "garbage-collector"
NAME = "garbage"
WORKERS = 16


def blocking(owner: Metadata, dependents: Sequence[Metadata]) -> list[Metadata]:
    """Dependents that a deletion of ``owner`` in the foreground waits for."""
    found = [(each, reference_to(each, owner.metadata.uid)) for each in dependents]
    return [each for each, reference in found if reference is not None and reference.block_owner_deletion]


def can_own(owner: Metadata, dependent: Metadata) -> bool:
    """Owners live in the namespace of their dependents, or in none."""
    return not owner.metadata.namespace or owner.metadata.namespace == dependent.metadata.namespace


def propagation(obj: Metadata, dependents: Sequence[Metadata], owners: Owners) -> str:
    """How to delete: as its finalizers ask; in the foreground where an owner waits for it and others for it in turn."""
    if ORPHAN in obj.metadata.finalizers:
        return "Orphan"
    if FOREGROUND in obj.metadata.finalizers or (owners.waiting and dependents):
        return "Foreground"
    return "Background"


class Collector:
    """Decides about one object at a time, by uid: keys are ``ObjectKey("", uid)``."""

    def __init__(self, manager: Manager, monitor: Monitor) -> None:
        self._client = manager.client
        self._monitor = monitor
        self._graph = Graph()
        self._unresolved: set[str] = set()
        self._controller = manager.controller(NAME, self, workers=WORKERS)
        monitor.add_handler(self._changed)
        monitor.add_listener(self._served_changed)

    def _look_at(self, uid: str) -> None:
        self._controller.enqueue(ObjectKey("", uid))

    def _changed(self, old: Metadata | None, new: Metadata | None) -> None:
        """Keep the graph, and look at whatever the change may concern."""
        if new is not None:
            self._graph.put(new)
            if old is None or _differs(old, new):
                self._look_at(new.metadata.uid)
                if waits_for_dependents(new):
                    self._look_at_dependents(new.metadata.uid)
            gone = [] if old is None else [each for each in _owner_uids(old) if each not in _owner_uids(new)]
        else:
            assert old is not None
            self._graph.remove(old.metadata.uid)
            self._unresolved.discard(old.metadata.uid)
            self._look_at_dependents(old.metadata.uid)
            gone = _owner_uids(old)
        for uid in gone:
            owner = self._graph.get(uid)
            if owner is not None and is_deleting(owner):
                self._look_at(uid)

    def _look_at_dependents(self, uid: str) -> None:
        for each in self._graph.dependents(uid):
            self._look_at(each.metadata.uid)

    def _served_changed(self) -> None:
        """Owners of kinds that were not served may be found now."""
        for uid in self._unresolved:
            self._look_at(uid)
        self._unresolved.clear()

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass over an object."""
        await self._monitor.wait_complete()
        obj = self._graph.get(key.name)
        if obj is None:
            return Result()
        try:
            if leaves_orphans(obj):
                await self._orphan(obj)
            elif waits_for_dependents(obj):
                await self._wait(obj)
            elif not is_deleting(obj) and obj.metadata.owner_references:
                await self._collect(obj)
        except NotFound:
            return Result()  # gone meanwhile: its event says so
        return Result()

    async def _orphan(self, owner: Metadata) -> None:
        uid = owner.metadata.uid
        await together(self._disown(each, {uid}) for each in self._graph.dependents(uid))
        await self._without_finalizer(owner, ORPHAN)

    async def _wait(self, owner: Metadata) -> None:
        """Let the owner go once no dependent holds it; until then see that they go."""
        dependents = list(self._graph.dependents(owner.metadata.uid))
        held = blocking(owner, dependents)
        if not held:
            await self._without_finalizer(owner, FOREGROUND)
            return
        for each in held:
            if not is_deleting(each):
                self._look_at(each.metadata.uid)

    async def _collect(self, obj: Metadata) -> None:
        owners = await self._owners(obj)
        if owners is None:
            self._unresolved.add(obj.metadata.uid)
            return
        gone = {each.uid for each in (*owners.absent, *owners.waiting)}
        if owners.solid:
            if gone:
                await self._disown(obj, gone)
            return
        dependents = list(self._graph.dependents(obj.metadata.uid))
        meta = obj.metadata
        options = DeleteOptions(
            propagation=propagation(obj, dependents, owners), uid=meta.uid, resource_version=meta.resource_version
        )
        await self._client.delete(type(obj), meta.name, meta.namespace, options)

    async def _owners(self, obj: Metadata) -> Owners | None:
        """What became of the owners; None when one is of a kind that is not served, so that nobody knows."""
        solid, absent, waiting = list[OwnerReference](), list[OwnerReference](), list[OwnerReference]()
        for reference in obj.metadata.owner_references:
            owner = self._graph.get(reference.uid)
            if owner is None or not can_own(owner, obj):
                resource = self._monitor.find(reference.api_version, reference.kind)
                if resource is None or (resource.namespaced and not obj.metadata.namespace):
                    return None
                owner = await self._newest(metadata_of(resource), reference, obj)
            if owner is None:
                absent.append(reference)
            elif waits_for_dependents(owner) and reference.block_owner_deletion:
                waiting.append(reference)
            else:
                solid.append(reference)
        return Owners(tuple(solid), tuple(absent), tuple(waiting))

    async def _newest(self, kind: type[Metadata], reference: OwnerReference, obj: Metadata) -> Metadata | None:
        """The owner as the server has it; None when it, that very one, is not there."""
        namespace = obj.metadata.namespace if kind.resource.namespaced else ""
        try:
            found = await self._client.get(kind, reference.name, namespace)
        except NotFound:
            return None
        return found if found.metadata.uid == reference.uid else None

    async def _disown(self, obj: Metadata, owners: set[str]) -> None:
        left = [encode(each) for each in obj.metadata.owner_references if each.uid not in owners]
        await self._patch(obj, {"ownerReferences": left or None})

    async def _without_finalizer(self, obj: Metadata, finalizer: str) -> None:
        left = [each for each in obj.metadata.finalizers if each != finalizer]
        await self._patch(obj, {"finalizers": left or None})

    async def _patch(self, obj: Metadata, change: dict[str, Any]) -> None:
        """Change metadata; over a version that is not the newest it is a Conflict, and the key comes again."""
        meta = obj.metadata
        body = {"metadata": {**change, "resourceVersion": meta.resource_version, "uid": meta.uid}}
        try:
            await self._client.patch(
                type(obj), meta.name, meta.namespace, body, content_type=MERGE_PATCH, manager=MANAGER
            )
        except NotFound:
            return


def _owner_uids(obj: Metadata) -> list[str]:
    return [each.uid for each in obj.metadata.owner_references]


def _differs(old: Metadata, new: Metadata) -> bool:
    before, after = old.metadata, new.metadata
    return (
        before.owner_references != after.owner_references
        or before.deletion_timestamp != after.deletion_timestamp
        or before.finalizers != after.finalizers
    )


def setup(manager: Manager, monitor: Monitor) -> None:
    """Run the controller on what ``monitor`` sees."""
    Collector(manager, monitor)
