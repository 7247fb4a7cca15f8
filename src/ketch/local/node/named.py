"""Objects that pods name, each watched by itself while a pod needs it: a node may see those and no others.

As a kubelet does it. What was just let go is kept for a while: the next pod of its kind comes soon.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ketch.kube.client import Reader
from ketch.kube.clock import Clock
from ketch.kube.informer import Informer
from ketch.kube.meta import KubeObject, ObjectKey

K = TypeVar("K", bound=KubeObject)

LINGER_SECONDS = 60.0
PATIENCE_SECONDS = 10.0
"""For how long a pod waits for the API server to tell of what it names, before it says so."""


class NotTold(Exception):
    """The API server did not tell of an object in time; the message says why, where that is known."""


@dataclass
class _Watched(Generic[K]):
    informer: Informer[K]
    task: asyncio.Task[None]
    holders: set[str] = field(default_factory=set[str])
    lingering: asyncio.Task[None] | None = None


class NamedObjects(Generic[K]):
    """Objects of one kind. ``changed`` is told which holders need what came, changed or went."""

    def __init__(self, client: Reader, kind: type[K], clock: Clock, changed: Callable[[Collection[str]], None]) -> None:
        self._client = client
        self._kind = kind
        self._clock = clock
        self._changed = changed
        self._watched: dict[ObjectKey, _Watched[K]] = {}
        self._held: dict[str, frozenset[ObjectKey]] = {}

    def hold(self, holder: str, keys: frozenset[ObjectKey]) -> None:
        """From now on ``holder`` needs these, and nothing else."""
        before = self._held.get(holder, frozenset())
        if keys:
            self._held[holder] = keys
        else:
            self._held.pop(holder, None)
        for key in keys - before:
            watched = self._watched.get(key) or self._watch(key)
            watched.holders.add(holder)
            if watched.lingering is not None:
                watched.lingering.cancel()
                watched.lingering = None
        for key in before - keys:
            watched = self._watched[key]
            watched.holders.discard(holder)
            if not watched.holders:
                watched.lingering = asyncio.create_task(self._linger(key))

    def get(self, key: ObjectKey) -> K | None:
        """The object; None where it is absent, or held by nobody."""
        watched = self._watched.get(key)
        return None if watched is None else watched.informer.get(key)

    async def told(self, keys: Collection[ObjectKey]) -> None:
        """Until it is known of each of these, which are held, whether it is there. Raises NotTold."""
        for key in keys:
            informer = self._watched[key].informer
            if informer.is_synced:
                continue
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await informer.wait_synced()
            except TimeoutError:
                what = self._kind.resource.kind.lower()
                why = informer.problem or "timed out waiting for the condition"
                raise NotTold(f'{what} "{key.name}": failed to sync {what} cache: {why}') from None

    async def close(self) -> None:
        """Watch nothing any more."""
        tasks = [each.task for each in self._watched.values()]
        tasks += [each.lingering for each in self._watched.values() if each.lingering is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _watch(self, key: ObjectKey) -> _Watched[K]:
        informer = Informer(
            self._client, self._kind, self._clock, namespace=key.namespace, field_selector=f"metadata.name={key.name}"
        )
        watched = self._watched[key] = _Watched(informer, asyncio.create_task(informer.run()))

        def tell(old: K | None, new: K | None) -> None:  # noqa: ARG001  # a handler
            if informer.is_synced:  # whoever waits for the first word reads it
                self._changed(tuple(watched.holders))

        informer.add_handler(tell)
        return watched

    async def _linger(self, key: ObjectKey) -> None:
        await self._clock.sleep(LINGER_SECONDS)
        watched = self._watched.pop(key)
        watched.task.cancel()
        await asyncio.gather(watched.task, return_exceptions=True)
