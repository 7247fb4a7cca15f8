"""Owner references: which object another goes with."""

from typing import TypeVar

import msgspec

from ketch.kube.meta import KubeObject, OwnerReference

K = TypeVar("K", bound=KubeObject)


def owner_reference(owner: KubeObject, *, controller: bool = True) -> OwnerReference:
    """A reference to ``owner``, which deletion in the foreground waits for."""
    return OwnerReference(
        api_version=owner.resource.api_version,
        kind=owner.resource.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=controller,
        block_owner_deletion=True,
    )


def controlled_by(owner: KubeObject, obj: K) -> K:
    """``obj`` with ``owner`` as its controller, and in its namespace when it names none."""
    others = tuple(each for each in obj.metadata.owner_references if not each.controller)
    namespace = obj.metadata.namespace or (owner.metadata.namespace if obj.resource.namespaced else "")
    metadata = msgspec.structs.replace(
        obj.metadata, namespace=namespace, owner_references=(*others, owner_reference(owner))
    )
    return msgspec.structs.replace(obj, metadata=metadata)


def controller_of(obj: KubeObject) -> OwnerReference | None:
    """The owner that controls ``obj``."""
    return next((each for each in obj.metadata.owner_references if each.controller), None)
