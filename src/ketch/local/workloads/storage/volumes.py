"""PersistentVolume: free, bound or released by what became of its claim; a released one is reclaimed as it says."""

from typing import Any

from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, APIError, NotFound, TransportError
from ketch.kube.events import EventRecorder
from ketch.kube.manager import For, Manager, Maps
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus
from ketch.kube.types.storage import DEFAULT_CLASS_ANNOTATION, StorageClass
from ketch.local.workloads.storage.binding import DATA_FINALIZER, DELETE, DRIVER, PROVISIONED_BY, WAIT_FOR_CONSUMER

MANAGER = "persistentvolume-controller"
PROTECTION = "kubernetes.io/pv-protection"
AVAILABLE, BOUND, RELEASED, FAILED = "Available", "Bound", "Released", "Failed"
DEFAULT_CLASS = "standard"
RETRY_SECONDS = 1.0


def default_class() -> StorageClass:
    """The class of claims that name none: directories of the node that runs the first pod to mount them."""
    return StorageClass(
        metadata=ObjectMeta(name=DEFAULT_CLASS, annotations={DEFAULT_CLASS_ANNOTATION: "true"}),
        provisioner=DRIVER,
        reclaim_policy=DELETE,
        volume_binding_mode=WAIT_FOR_CONSUMER,
        allow_volume_expansion=True,
    )


def is_made_here(volume: PersistentVolume) -> bool:
    """Whether the volume was made for a claim, so that its data is ours to delete."""
    return volume.metadata.annotations.get(PROVISIONED_BY) == DRIVER


def finalizers(volume: PersistentVolume) -> tuple[str, ...]:
    """What should hold a volume that stays: its protection, and its data if that is to go with it."""
    kept = tuple(each for each in volume.metadata.finalizers if each not in (PROTECTION, DATA_FINALIZER))
    goes_along = is_made_here(volume) and volume.spec.persistent_volume_reclaim_policy == DELETE
    return (*kept, PROTECTION, *((DATA_FINALIZER,) if goes_along else ()))


def phase_of(volume: PersistentVolume, claim: PersistentVolumeClaim | None) -> str:
    """The phase; ``claim`` is the one that the volume names, if it is there."""
    told = volume.spec.claim_ref
    if told is None or not told.uid:
        return AVAILABLE
    if claim is None or claim.metadata.uid != told.uid:
        return RELEASED
    return BOUND


class VolumeReconciler:
    """Reports, protects and reclaims."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._volumes = manager.informer(PersistentVolume)
        self._claims = manager.informer(PersistentVolumeClaim)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        volume = self._volumes.get(key)
        if volume is None:
            return Result()
        try:
            phase = phase_of(volume, await self._claim(volume))
            if volume.metadata.deletion_timestamp is not None:
                await self._let_go(volume, phase)
                return Result()
            wanted = finalizers(volume)
            if set(wanted) != set(volume.metadata.finalizers):
                await self._hold(volume, wanted)
                return Result()  # its event brings the key back
            await self._report(volume, phase)
            if phase == RELEASED and volume.spec.persistent_volume_reclaim_policy == DELETE:
                await self._reclaim(volume)
        except NotFound:
            return Result()  # gone meanwhile
        return Result()

    async def _claim(self, volume: PersistentVolume) -> PersistentVolumeClaim | None:
        """The claim that the volume names; asked of the server before it is taken for gone."""
        told = volume.spec.claim_ref
        if told is None:
            return None
        claim = self._claims.get(ObjectKey(told.namespace, told.name))
        if claim is not None and claim.metadata.uid == told.uid:
            return claim
        try:
            return await self._client.get(PersistentVolumeClaim, told.name, told.namespace)
        except NotFound:
            return None

    async def _let_go(self, volume: PersistentVolume, phase: str) -> None:
        """A volume that is being deleted goes once no claim has it."""
        if phase != BOUND and PROTECTION in volume.metadata.finalizers:
            await self._hold(volume, tuple(each for each in volume.metadata.finalizers if each != PROTECTION))

    async def _hold(self, volume: PersistentVolume, wanted: tuple[str, ...]) -> None:
        meta = volume.metadata
        body: dict[str, Any] = {
            "metadata": {"finalizers": list(wanted) or None, "resourceVersion": meta.resource_version}
        }
        await self._client.patch(PersistentVolume, meta.name, "", body, content_type=MERGE_PATCH, manager=MANAGER)

    async def _report(self, volume: PersistentVolume, phase: str) -> None:
        if volume.status.phase == phase or (phase == RELEASED and volume.status.phase == FAILED):
            return
        now = self._clock.now().replace(microsecond=0)
        status = PersistentVolumeStatus(phase=phase, last_phase_transition_time=now)
        meta = ObjectMeta(name=volume.metadata.name)
        await self._client.apply_status(PersistentVolume(metadata=meta, status=status), manager=MANAGER)

    async def _reclaim(self, volume: PersistentVolume) -> None:
        if is_made_here(volume):
            await self._client.delete(PersistentVolume, volume.metadata.name)
            return
        text = "error finding deletion plugin: this volume was not made by a class; delete it by hand"
        await self._events.record(volume, "Warning", "VolumeFailedDelete", text)


async def _ensure_class(manager: Manager) -> None:
    """The default class is there from the first start; who changes it has their way."""
    while True:
        try:
            await manager.client.create(default_class(), manager=MANAGER)
        except AlreadyExists:
            return
        except (APIError, TransportError):
            await manager.clock.sleep(RETRY_SECONDS)
        else:
            return


def setup(manager: Manager) -> None:
    """Run the controller."""
    volumes, claims = manager.informer(PersistentVolume), manager.informer(PersistentVolumeClaim)

    def of_claim(claim: PersistentVolumeClaim) -> list[ObjectKey]:
        return [ObjectKey("", claim.spec.volume_name)] if claim.spec.volume_name else []

    manager.controller("volumes", VolumeReconciler(manager), For(volumes), Maps(claims, of_claim))
    manager.add(lambda: _ensure_class(manager))
