"""Which objects belong to an owner: those it controls and selects; loose ones that it selects are taken over."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from ketch.kube.client import Client
from ketch.kube.codec import encode
from ketch.kube.errors import Invalid, NotFound
from ketch.kube.informer import Informer
from ketch.kube.meta import KubeObject
from ketch.kube.owners import controller_of, owner_reference
from ketch.kube.selectors import Selector
from ketch.kube.transport import STRATEGIC_MERGE_PATCH

K = TypeVar("K", bound=KubeObject)
LOOSE = "workloads.loose"


def _namespace_if_loose(obj: KubeObject) -> Iterator[str]:
    if controller_of(obj) is None:
        yield obj.metadata.namespace


class Claims:
    """Keeps the ownership of one kind of children right, for one controller."""

    def __init__(self, client: Client, informer: Informer[K], manager: str) -> None:
        self._client = client
        self._manager = manager
        informer.add_index(LOOSE, _namespace_if_loose)

    async def claimed(self, owner: KubeObject, selector: Selector, informer: Informer[K]) -> list[K]:
        """The owner's children. Adopts and releases; an owner that is being deleted adopts nothing."""
        found: list[K] = []
        for obj in informer.owned_by(owner.metadata.uid):
            if selector.matches(obj.metadata.labels):
                found.append(obj)
            elif obj.metadata.deletion_timestamp is None:
                await self._release(owner, obj)
        if owner.metadata.deletion_timestamp is None:
            for obj in informer.by_index(LOOSE, owner.metadata.namespace):
                if obj.metadata.deletion_timestamp is None and selector.matches(obj.metadata.labels):
                    found += await self._adopt(owner, obj)
        return found

    async def _adopt(self, owner: KubeObject, obj: K) -> list[K]:
        try:
            return [await self._patch(obj, encode(owner_reference(owner)))]
        except NotFound:
            return []

    async def _release(self, owner: KubeObject, obj: KubeObject) -> None:
        try:
            await self._patch(obj, {"$patch": "delete", "uid": owner.metadata.uid})
        except (NotFound, Invalid):
            return  # gone, or another object of that name: nothing to release

    async def _patch(self, obj: K, reference: dict[str, object]) -> K:
        meta = obj.metadata
        body = {"metadata": {"uid": meta.uid, "ownerReferences": [reference]}}
        return await self._client.patch(
            type(obj), meta.name, meta.namespace, body, content_type=STRATEGIC_MERGE_PATCH, manager=self._manager
        )


def selecting(informer: Informer[K], obj: KubeObject, selector_of: Callable[[K], Selector | None]) -> list[K]:
    """Owners whose selector means a loose object."""
    if controller_of(obj) is not None or not obj.metadata.labels:
        return []
    return [
        owner
        for owner in informer.list(obj.metadata.namespace)
        if (selector := selector_of(owner)) is not None and selector.matches(obj.metadata.labels)
    ]
