"""The pods' places in the network: a pool of namespaces made in advance, and who has which."""

import asyncio
import contextlib
import errno
import logging
import os
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from ketch.local.network.addresses import FIRST_POD, AddressesExhausted, next_index, pod_address, pod_index
from ketch.local.network.cluster import Cluster

POOL_SIZE = 8
MOST_POOLED = 24
"""Places in the pool at most, of those that were used before: making one costs more than keeping it."""

_POD_PREFIX, _CURSOR = "pod:", "cursor"
_TRIES = 64
_LOG = logging.getLogger(__name__)


class Place(NamedTuple):
    """A namespace and the place of its address in the pod network; ``interface`` is the place it was made for."""

    slot: int
    namespace: int
    interface: int

    @property
    def address(self) -> str:
        """The pod's address."""
        return pod_address(self.slot)


class Pods:
    """Gives places to pods and takes them back; what it gives is told to the holder before anybody else.

    An address that was freed comes back only after all others had their turn.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._holder = cluster.holder
        self._maker = cluster.pods
        self._pool: deque[Place] = deque()
        self._making: set[int] = set()
        self._waiting: dict[str, asyncio.Task[Place]] = {}
        self._refill: asyncio.Task[None] | None = None
        self._renewing: set[asyncio.Task[None]] = set()
        self._attached = {
            key.removeprefix(_POD_PREFIX): _kept(held.value, held.descriptor)
            for key, held in cluster.held.items()
            if key.startswith(_POD_PREFIX) and held.descriptor is not None
        }
        cursor = cluster.held.get(_CURSOR)
        self._cursor = int(cursor.value) if cursor is not None else FIRST_POD - 1

    def attachments(self) -> Mapping[str, str]:
        """The address of every attached pod."""
        return {pod: place.address for pod, place in self._attached.items()}

    def namespaces(self) -> set[int]:
        """The kernel's numbers of all attached namespaces."""
        return {os.fstat(place.namespace).st_ino for place in self._attached.values()}

    def prepare(self) -> None:
        """Begin to fill the pool."""
        if self._refill is None or self._refill.done():
            self._refill = asyncio.create_task(self._fill())

    async def attach(self, pod: str) -> Place:
        """The pod's place, the same until it is detached. Raises OSError."""
        if (place := self._attached.get(pod)) is not None:
            return place
        if self._pool and pod not in self._waiting:
            place = self._pool.popleft()
            self._give(pod, place)
            self.prepare()
            return place
        if pod not in self._waiting:
            self._waiting[pod] = asyncio.create_task(self._attach_new(pod))
        return await asyncio.shield(self._waiting[pod])

    async def detach(self, pod: str, *, unchanged: bool = False) -> None:
        """Free the pod's place; its namespace ends with its last process.

        ``unchanged``: nobody has set anything in the namespace. Where nobody has used it either, it is for another.
        """
        if (waiting := self._waiting.get(pod)) is not None:
            with contextlib.suppress(OSError):
                await waiting
        place = self._attached.pop(pod, None)
        if place is not None:
            self._holder.drop(_POD_PREFIX + pod)
            if unchanged and len(self._pool) + len(self._renewing) < MOST_POOLED:
                task = asyncio.create_task(self._renew(place))
                self._renewing.add(task)
                task.add_done_callback(self._renewing.discard)
            else:
                os.close(place.namespace)

    async def close(self) -> None:
        """Stop making places."""
        tasks: list[asyncio.Task[Place] | asyncio.Task[None]] = [*self._waiting.values(), *self._renewing]
        if self._refill is not None:
            tasks.append(self._refill)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._maker.thread.close()

    def _give(self, pod: str, place: Place) -> None:
        self._holder.put(_POD_PREFIX + pod, f"{place.address} {place.interface}", place.namespace)
        self._attached[pod] = place

    async def _attach_new(self, pod: str) -> Place:
        try:
            place = await self._make()
            self._give(pod, place)
        finally:
            del self._waiting[pod]
        self.prepare()
        return place

    async def _fill(self) -> None:
        with contextlib.suppress(OSError):  # whoever attaches next is told
            while len(self._pool) < POOL_SIZE:
                self._pool.append(await self._make())

    async def _renew(self, place: Place) -> None:
        """Put the place into the pool with an address whose turn it is; it ends if it was used."""
        index, renewed = -1, False
        try:
            index = self._next()
            self._making.add(index)
            renewed = await self._maker.thread.run(
                lambda: self._maker.renew(place.namespace, place.interface, place.slot, index)
            )
        except (AddressesExhausted, OSError) as error:
            _LOG.info("a pod's namespace ends: %s", error)
        finally:
            self._making.discard(index)
            if renewed:
                self._pool.append(place._replace(slot=index))
            else:
                os.close(place.namespace)

    async def _make(self) -> Place:
        for _ in range(_TRIES):
            index = self._next()
            self._making.add(index)
            try:
                namespace = await self._maker.thread.run(lambda index=index: self._maker.make(index))
                return Place(index, namespace, index)
            except FileExistsError:
                continue  # the interfaces of a namespace that has not quite ended yet
            finally:
                self._making.discard(index)
        raise OSError(errno.EADDRINUSE, f"the last {_TRIES} addresses tried are still in use")

    def _next(self) -> int:
        taken = self._making | {place.slot for place in (*self._attached.values(), *self._pool)}
        self._cursor = next_index(self._cursor, taken)
        self._holder.put(_CURSOR, str(self._cursor))
        return self._cursor


def _kept(value: str, namespace: int) -> Place:
    """The place that the holder keeps."""
    address, _, interface = value.partition(" ")
    slot = pod_index(address)
    return Place(slot, namespace, int(interface) if interface else slot)
