"""The claims that a pod mounts: bound ones bind the pod to their nodes, unbound ones wait for it or make it wait."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import PersistentVolume, PersistentVolumeClaim
from ketch.kube.types.storage import StorageClass
from ketch.local.scheduler.needs import Needs, node_terms
from ketch.local.scheduler.terms import NodeTerm

SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""The claim's annotation by which the scheduler tells the provisioner where the pod will run."""
WAIT_FOR_CONSUMER = "WaitForFirstConsumer"
BOUND, LOST = "Bound", "Lost"
ONE_POD = "ReadWriteOncePod"
"""An access mode: no second pod may mount the claim, wherever it is."""
MOUNTED_MESSAGE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
UNBOUND_MESSAGE = "pod has unbound immediate PersistentVolumeClaims"


class Found(NamedTuple):
    """What claims mean for a pod: node affinities of bound volumes, claims to be provided once its node is known.

    ``in_use`` says that the problem is another pod, which may go.
    """

    volumes: tuple[tuple[NodeTerm, ...], ...] = ()
    to_provide: tuple[PersistentVolumeClaim, ...] = ()
    problem: str = ""
    in_use: bool = False


class Storage(Protocol):
    """Where claims, volumes and classes are looked up."""

    def claim(self, key: ObjectKey) -> PersistentVolumeClaim | None:
        """A claim by namespace and name."""
        ...

    def volume(self, name: str) -> PersistentVolume | None:
        """A volume by name."""
        ...

    def storage_class(self, name: str) -> StorageClass | None:
        """A class by name."""
        ...

    def is_mounted(self, key: ObjectKey) -> bool:
        """Whether a pod with a node mounts the claim."""
        ...


def look(needs: Needs, storage: Storage) -> Found:
    """Look up the pod's claims. ``problem`` says in kubectl's words what must be mended first."""
    volumes: list[tuple[NodeTerm, ...]] = []
    to_provide: list[PersistentVolumeClaim] = []
    for name in needs.claims:
        claim = storage.claim(ObjectKey(needs.namespace, name))
        if problem := _problem(name, claim):
            return Found(problem=problem)
        assert claim
        if ONE_POD in claim.spec.access_modes and storage.is_mounted(claim.key):
            return Found(problem=MOUNTED_MESSAGE, in_use=True)
        if claim.status.phase == BOUND:
            volume = storage.volume(claim.spec.volume_name)
            if volume is None:
                return Found(problem=f'persistentvolume "{claim.spec.volume_name}" not found')
            if (terms := node_terms(volume.spec.node_affinity)) is not None:
                volumes.append(terms)
        elif waits_for_consumer(claim, storage):
            to_provide.append(claim)
        else:
            return Found(problem=UNBOUND_MESSAGE)
    return Found(tuple(volumes), tuple(to_provide))


def _problem(name: str, claim: PersistentVolumeClaim | None) -> str:
    if claim is None:
        return f'persistentvolumeclaim "{name}" not found'
    if claim.metadata.deletion_timestamp is not None:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if claim.status.phase == LOST:
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
    return ""


def waits_for_consumer(claim: PersistentVolumeClaim, storage: Storage) -> bool:
    """Whether the claim's class binds only once a pod that mounts it has its node."""
    found = storage.storage_class(claim.spec.storage_class_name or "")
    return found is not None and found.volume_binding_mode == WAIT_FOR_CONSUMER


def untold(claims: Sequence[PersistentVolumeClaim], nodes: Sequence[str]) -> bool:
    """Whether a claim must still be told a node: none was selected, or the selected one is gone."""
    return any(claim.metadata.annotations.get(SELECTED_NODE) not in nodes for claim in claims)
