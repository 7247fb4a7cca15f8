"""Who owns whom: a graph of metadata, kept by what the monitor sees. Each change costs as much as its references."""

from collections.abc import Iterator
from dataclasses import dataclass

from ketch.kube.meta import OwnerReference
from ketch.local.workloads.collection.discovering import Metadata

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


def is_deleting(obj: Metadata) -> bool:
    """Whether its deletion has begun."""
    return obj.metadata.deletion_timestamp is not None


def waits_for_dependents(obj: Metadata) -> bool:
    """Whether it is being deleted in the foreground."""
    return is_deleting(obj) and FOREGROUND in obj.metadata.finalizers


def leaves_orphans(obj: Metadata) -> bool:
    """Whether it is being deleted and its dependents are to stay."""
    return is_deleting(obj) and ORPHAN in obj.metadata.finalizers


def reference_to(obj: Metadata, owner_uid: str) -> OwnerReference | None:
    """The object's reference to that owner."""
    return next((each for each in obj.metadata.owner_references if each.uid == owner_uid), None)


@dataclass(frozen=True, slots=True)
class Owners:
    """An object's references by what became of the owner: there, gone, or there only until its dependents are gone."""

    solid: tuple[OwnerReference, ...] = ()
    absent: tuple[OwnerReference, ...] = ()
    waiting: tuple[OwnerReference, ...] = ()


class Graph:
    """Objects by uid, and the dependents of each uid, whether or not the owner was seen."""

    def __init__(self) -> None:
        self._objects: dict[str, Metadata] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    def get(self, uid: str) -> Metadata | None:
        """The object."""
        return self._objects.get(uid)

    def dependents(self, uid: str) -> Iterator[Metadata]:
        """Objects that refer to ``uid`` as an owner."""
        for each in tuple(self._dependents.get(uid, ())):
            yield self._objects[each]

    def put(self, obj: Metadata) -> None:
        """The object as it is now."""
        uid = obj.metadata.uid
        before = self._objects.get(uid)
        self._objects[uid] = obj
        if before is not None and before.metadata.owner_references == obj.metadata.owner_references:
            return
        if before is not None:
            self._unlink(before)
        for owner in obj.metadata.owner_references:
            self._dependents.setdefault(owner.uid, {})[uid] = None

    def remove(self, uid: str) -> Metadata | None:
        """The object is gone; what it was."""
        obj = self._objects.pop(uid, None)
        if obj is not None:
            self._unlink(obj)
        return obj

    def _unlink(self, obj: Metadata) -> None:
        for owner in obj.metadata.owner_references:
            found = self._dependents.get(owner.uid, {})
            found.pop(obj.metadata.uid, None)
            if not found:
                self._dependents.pop(owner.uid, None)
