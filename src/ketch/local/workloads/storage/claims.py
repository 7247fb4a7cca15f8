"""PersistentVolumeClaim: each gets a volume that fits, one that is there or one made for it, and keeps it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ketch.kube.codec import encode
from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.manager import For, Manager, Maps
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.quantities import Quantity, parse_quantity
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import (
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
)
from ketch.kube.types.pods import Pod
from ketch.kube.types.storage import StorageClass
from ketch.local.workloads.pods import is_terminal
from ketch.local.workloads.storage.binding import (
    BIND_COMPLETED,
    BOUND_BY,
    DRIVER,
    HOSTNAME,
    NO_PROVISIONER,
    SELECTED_NODE,
    WAIT_FOR_CONSUMER,
    best_volume,
    claim_reference,
    provisioned,
    refers_to,
)

MANAGER = "persistentvolume-binder"
PROTECTION = "kubernetes.io/pvc-protection"
PENDING, BOUND, LOST = "Pending", "Bound", "Lost"
STORAGE = "storage"
BY_CLAIM = "claims.pods"


class News(NamedTuple):
    """An event to tell."""

    type: str
    reason: str
    message: str


WAITING = News("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
NO_CLASS = News("Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set")
TAKEN = News("Warning", "FailedBinding", "volume already bound to a different claim.")
RESIZED = News("Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
CLAIM_LOST = News("Warning", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")


def hindrance(claim: PersistentVolumeClaim, storage: StorageClass | None) -> News | None:
    """Why no volume can be made for the claim now; None when one can."""
    name = claim.spec.storage_class_name
    if not name:
        return NO_CLASS
    if storage is None:
        return News("Warning", "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found')
    if waits(claim, storage):
        return WAITING
    if storage.provisioner == NO_PROVISIONER:
        return News("Normal", "FailedBinding", "no persistent volumes available for this claim")
    if storage.provisioner != DRIVER:
        text = (
            f"Waiting for a volume to be created either by the external provisioner '{storage.provisioner}' or manually"
        )
        return News("Normal", "ExternalProvisioning", f"{text} by the system administrator.")
    if claim.spec.volume_mode == "Block":
        return News("Warning", "ProvisioningFailed", f"{DRIVER} makes directories: use volumeMode Filesystem")
    if claim.spec.selector:
        return News("Warning", "ProvisioningFailed", "claim.spec.selector is not supported for dynamic provisioning")
    return None


def waits(claim: PersistentVolumeClaim, storage: StorageClass | None) -> bool:
    """Whether the claim is bound only once a pod that mounts it has its node."""
    late = storage is not None and storage.volume_binding_mode == WAIT_FOR_CONSUMER
    return late and SELECTED_NODE not in claim.metadata.annotations


def status_of(claim: PersistentVolumeClaim, volume: PersistentVolume | None, phase: str) -> PersistentVolumeClaimStatus:
    """What to report in this phase."""
    if phase != BOUND or volume is None:
        return PersistentVolumeClaimStatus(phase=phase)
    return PersistentVolumeClaimStatus(
        phase=phase,
        access_modes=volume.spec.access_modes,
        capacity=volume.spec.capacity,
        conditions=claim.status.conditions,
    )


def grown_size(claim: PersistentVolumeClaim, volume: PersistentVolume) -> Quantity | None:
    """The size that the volume should be of, if it was made here and is asked to be larger."""
    wanted, there = claim.spec.resources.requests.get(STORAGE), volume.spec.capacity.get(STORAGE)
    made_here = volume.spec.csi is not None and volume.spec.csi.driver == DRIVER
    if not made_here or wanted is None or there is None or parse_quantity(wanted) <= parse_quantity(there):
        return None
    return wanted


def claims_of(pod: Pod) -> Iterator[ObjectKey]:
    """Claims that the pod mounts."""
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            yield ObjectKey(pod.metadata.namespace, volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None:
            yield ObjectKey(pod.metadata.namespace, f"{pod.metadata.name}-{volume.name}")


class ClaimReconciler:
    """Binds, provides and protects."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._claims = manager.informer(PersistentVolumeClaim)
        self._volumes = manager.informer(PersistentVolume)
        self._classes = manager.informer(StorageClass)
        self._nodes = manager.informer(Node)
        self._pods = manager.informer(Pod)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)
        self._pods.add_index(BY_CLAIM, lambda pod: map(str, claims_of(pod)))

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        claim = self._claims.get(key)
        if claim is None:
            return Result()
        try:
            if not await self._protect(claim):
                return Result()
            if claim.spec.volume_name:
                await self._hold(claim)
            else:
                await self._find(claim)
        except NotFound:
            return Result()  # gone meanwhile
        return Result()

    async def _protect(self, claim: PersistentVolumeClaim) -> bool:
        """Hold a claim that is mounted; whether there is more to do for it."""
        finalizers = claim.metadata.finalizers
        if claim.metadata.deletion_timestamp is None:
            if PROTECTION not in finalizers:
                await self._patch(claim, {"metadata": {"finalizers": [*finalizers, PROTECTION]}})
                return False  # its event brings the key back
            return True
        in_use = [pod for pod in self._pods.by_index(BY_CLAIM, str(claim.key)) if not is_terminal(pod)]
        if PROTECTION in finalizers and not in_use:
            left = [each for each in finalizers if each != PROTECTION]
            await self._patch(claim, {"metadata": {"finalizers": left or None}})
            return False
        return bool(in_use)

    async def _find(self, claim: PersistentVolumeClaim) -> None:
        """Bind a volume, or make one, or tell why neither can be."""
        storage = self._classes.get(ObjectKey("", claim.spec.storage_class_name or ""))
        volume = best_volume(claim, self._volumes.list())
        set_aside = volume is not None and refers_to(volume, claim)
        if volume is not None and (set_aside or not waits(claim, storage)):
            await self._bind(claim, volume)
            return
        news = hindrance(claim, storage)
        if news is None and storage is not None:
            await self._provide(claim, storage)
            return
        if news is not None:
            await self._events.record(claim, *news)
        await self._report(claim, None, PENDING)

    async def _provide(self, claim: PersistentVolumeClaim, storage: StorageClass) -> None:
        """Make a volume, named after the claim's uid so that it is never made twice."""
        node = self._nodes.get(ObjectKey("", claim.metadata.annotations.get(SELECTED_NODE, "")))
        hostname = node.metadata.labels.get(HOSTNAME, node.metadata.name) if node else ""
        wanted = provisioned(claim, storage, hostname)
        try:
            volume = await self._client.create(wanted, manager=MANAGER)
        except AlreadyExists:
            volume = await self._client.get(PersistentVolume, wanted.metadata.name)
        else:
            text = f"Successfully provisioned volume {wanted.metadata.name}"
            await self._events.record(claim, "Normal", "ProvisioningSucceeded", text)
        await self._bind(claim, volume)

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """The volume names the claim, then the claim the volume: whoever reads one finds the other."""
        reference = claim_reference(claim)
        told = volume.spec.claim_ref
        if told is None or told.uid != reference.uid:
            body: dict[str, Any] = {
                "metadata": {"resourceVersion": volume.metadata.resource_version},
                "spec": {"claimRef": encode(reference)},
            }
            if told is None:
                body["metadata"]["annotations"] = {BOUND_BY: "yes"}
            await self._client.patch(
                PersistentVolume, volume.metadata.name, "", body, content_type=MERGE_PATCH, manager=MANAGER
            )
        marks = {BIND_COMPLETED: "yes"}
        if not claim.spec.volume_name:
            marks[BOUND_BY] = "yes"
        body = {"metadata": {"annotations": marks}, "spec": {"volumeName": volume.metadata.name}}
        await self._patch(claim, body)
        await self._report(claim, volume, BOUND)

    async def _hold(self, claim: PersistentVolumeClaim) -> None:
        """Keep a claim with the volume that it names."""
        volume = self._volumes.get(ObjectKey("", claim.spec.volume_name))
        was_bound = BIND_COMPLETED in claim.metadata.annotations
        if volume is None and was_bound:
            try:
                volume = await self._client.get(PersistentVolume, claim.spec.volume_name)
            except NotFound:
                volume = None
        if volume is not None and (volume.spec.claim_ref is None or refers_to(volume, claim)):
            told = volume.spec.claim_ref
            if told is None or told.uid != claim.metadata.uid or not was_bound:
                await self._bind(claim, volume)
            else:
                await self._report(claim, await self._grown(claim, volume), BOUND)
            return
        if volume is not None:
            await self._events.record(claim, *TAKEN)
        elif was_bound:
            await self._events.record(claim, *CLAIM_LOST)
        await self._report(claim, None, LOST if was_bound else PENDING)

    async def _grown(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolume:
        """The volume at the size that the claim asks for by now: a directory takes what it gets."""
        size = grown_size(claim, volume)
        if size is None:
            return volume
        body = {"spec": {"capacity": {STORAGE: size}}}
        grown = await self._client.patch(
            PersistentVolume, volume.metadata.name, "", body, content_type=MERGE_PATCH, manager=MANAGER
        )
        await self._events.record(claim, *RESIZED)
        return grown

    async def _patch(self, claim: PersistentVolumeClaim, body: dict[str, Any]) -> None:
        meta = claim.metadata
        metadata = {"uid": meta.uid, "resourceVersion": meta.resource_version, **body.get("metadata", {})}
        await self._client.patch(
            PersistentVolumeClaim,
            meta.name,
            meta.namespace,
            {**body, "metadata": metadata},
            content_type=MERGE_PATCH,
            manager=MANAGER,
        )

    async def _report(self, claim: PersistentVolumeClaim, volume: PersistentVolume | None, phase: str) -> None:
        status = status_of(claim, volume, phase)
        if status == claim.status:
            return
        meta = ObjectMeta(name=claim.metadata.name, namespace=claim.metadata.namespace)
        await self._client.apply_status(PersistentVolumeClaim(metadata=meta, status=status), manager=MANAGER)


def setup(manager: Manager) -> None:
    """Run the controller."""
    claims = manager.informer(PersistentVolumeClaim)

    def unbound(*_: object) -> list[ObjectKey]:
        """A new volume or class may serve any claim that waits."""
        return [each.key for each in claims.list() if each.status.phase != BOUND]

    def of_volume(volume: PersistentVolume) -> list[ObjectKey]:
        told = volume.spec.claim_ref
        return [ObjectKey(told.namespace, told.name)] if told is not None else unbound()

    def of_pod(pod: Pod) -> list[ObjectKey]:
        return list(claims_of(pod))

    manager.controller(
        "claims",
        ClaimReconciler(manager),
        For(claims),
        Maps(manager.informer(PersistentVolume), of_volume),
        Maps(manager.informer(StorageClass), unbound),
        Maps(manager.informer(Pod), of_pod),
    )
