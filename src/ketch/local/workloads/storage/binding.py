"""Which volume fits a claim, and the volume that is made for one. Pure."""

from collections.abc import Iterable
from typing import Any

from ketch.kube.codec import decode
from ketch.kube.meta import LabelSelector, ObjectMeta
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.kube.selectors import matcher
from ketch.kube.types.core import (
    ObjectReference,
    PersistentCSIVolume,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
)
from ketch.kube.types.storage import StorageClass

DRIVER = "volumes.ketch.dev"
DATA_FINALIZER = "volumes.ketch.dev/data"
"""Held by a volume whose directory goes with it; the node drops it when the directory is gone."""
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BOUND_BY = "pv.kubernetes.io/bound-by-controller"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAIT_FOR_CONSUMER = "WaitForFirstConsumer"
HOSTNAME = "kubernetes.io/hostname"
DELETE = "Delete"
STORAGE = "storage"


def claim_reference(claim: PersistentVolumeClaim) -> ObjectReference:
    """The claim as a volume names it."""
    meta = claim.metadata
    kind = claim.resource.kind
    return ObjectReference(api_version="v1", kind=kind, namespace=meta.namespace, name=meta.name, uid=meta.uid)


def refers_to(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume is this claim's, or was set aside for one of its name."""
    told, meta = volume.spec.claim_ref, claim.metadata
    if told is None or (told.namespace, told.name) != (meta.namespace, meta.name):
        return False
    return told.uid in ("", meta.uid)


def size(quantity: str) -> Any:
    """A quantity to compare by; what is none is nothing."""
    try:
        return parse_quantity(quantity)
    except QuantityError:
        return 0


def fits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume offers what the claim asks for: class, size, modes, labels."""
    spec, asked = volume.spec, claim.spec
    if spec.storage_class_name != (asked.storage_class_name or ""):
        return False
    if (spec.volume_mode or "Filesystem") != (asked.volume_mode or "Filesystem"):
        return False
    if not set(asked.access_modes) <= set(spec.access_modes):
        return False
    if asked.selector and not matcher(decode(LabelSelector, asked.selector))(volume.metadata.labels):
        return False
    return size(spec.capacity.get(STORAGE, "0")) >= size(asked.resources.requests.get(STORAGE, "0"))


def best_volume(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> PersistentVolume | None:
    """The volume to bind: one that was set aside for the claim, else the smallest free one that fits."""
    free: list[PersistentVolume] = []
    for volume in volumes:
        if volume.metadata.deletion_timestamp is not None:
            continue
        if refers_to(volume, claim):
            return volume
        if volume.spec.claim_ref is None and volume.status.phase == "Available" and fits(volume, claim):
            free.append(volume)
    return min(free, key=lambda each: (size(each.spec.capacity.get(STORAGE, "0")), each.metadata.name), default=None)


def provisioned(claim: PersistentVolumeClaim, storage: StorageClass, hostname: str) -> PersistentVolume:
    """The volume to make for a claim: a directory named after it, on the node with that host name (any when empty)."""
    name = f"pvc-{claim.metadata.uid}"
    reclaim = storage.reclaim_policy or DELETE
    affinity: dict[str, Any] = {}
    if hostname:
        term = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [hostname]}]}
        affinity = {"required": {"nodeSelectorTerms": [term]}}
    return PersistentVolume(
        metadata=ObjectMeta(
            name=name,
            annotations={PROVISIONED_BY: DRIVER},
            finalizers=(DATA_FINALIZER,) if reclaim == DELETE else (),
        ),
        spec=PersistentVolumeSpec(
            capacity={STORAGE: claim.spec.resources.requests.get(STORAGE, "0")},
            access_modes=claim.spec.access_modes,
            csi=PersistentCSIVolume(driver=DRIVER, volume_handle=name, volume_attributes=storage.parameters),
            claim_ref=claim_reference(claim),
            persistent_volume_reclaim_policy=reclaim,
            storage_class_name=storage.metadata.name,
            volume_mode=claim.spec.volume_mode or "Filesystem",
            node_affinity=affinity,
        ),
    )
