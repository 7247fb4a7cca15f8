"""The metadata of every object of every served resource, kept up to date as definitions come and go."""

import asyncio
from collections.abc import Callable

from ketch.kube.errors import APIError, TransportError
from ketch.kube.informer import Informer
from ketch.kube.manager import Manager
from ketch.kube.meta import Resource
from ketch.kube.types.apiextensions import CustomResourceDefinition
from ketch.local.workloads.collection.discovering import WATCHED, Metadata, discover, metadata_of

Seen = Callable[[Metadata | None, Metadata | None], None]
UNWATCHED = frozenset({("", "events")})
"""Resources whose objects neither own nor are owned, and are many."""
RETRY_SECONDS = 1.0


class Monitor:
    """Follows all resources. Handlers see every object's metadata before and after."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._definitions = manager.informer(metadata_of(CustomResourceDefinition.resource))
        self._handlers: list[Seen] = []
        self._listeners: list[Callable[[], None]] = []
        self._informers: dict[Resource, Informer[Metadata]] = {}
        self._running: dict[Resource, asyncio.Task[None]] = {}
        self._stale = asyncio.Event()
        self._complete = asyncio.Event()
        self._definitions.add_handler(self._definition_changed)

    def _definition_changed(self, *_: object) -> None:
        self._stale.set()

    def add_handler(self, handler: Seen) -> None:
        """Tell ``handler`` of every change; before ``run`` only."""
        self._handlers.append(handler)

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when what is served has changed and is seen completely."""
        self._listeners.append(listener)

    @property
    def resources(self) -> list[Resource]:
        """What is followed."""
        return list(self._informers)

    def find(self, api_version: str, kind: str) -> Resource | None:
        """The followed resource of that kind, in whatever version; None when it is not served."""
        group = api_version.rpartition("/")[0]
        return next((each for each in self._informers if (each.group, each.kind) == (group, kind)), None)

    async def wait_complete(self) -> None:
        """Until every served resource's objects are here."""
        await self._complete.wait()

    async def run(self) -> None:
        """Follow until cancelled."""
        self._stale.set()
        try:
            while True:
                await self._stale.wait()
                self._stale.clear()
                await self._follow()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _follow(self) -> None:
        """Bring the informers in line with what is served."""
        try:
            served = {
                each for each in await discover(self._client, WATCHED) if (each.group, each.plural) not in UNWATCHED
            }
        except (APIError, TransportError):
            await self._clock.sleep(RETRY_SECONDS)
            self._stale.set()
            return
        if served == set(self._informers) and self._complete.is_set():
            return
        self._complete.clear()
        for resource in set(self._informers) - served:
            await self._drop(resource)
        for resource in served - set(self._informers):
            informer = self._informers[resource] = Informer(self._client, metadata_of(resource), self._clock)
            for handler in self._handlers:
                informer.add_handler(handler)
            self._running[resource] = asyncio.create_task(informer.run(), name=f"monitor {resource.plural}")
        for informer in self._informers.values():
            await self._synced(informer)
        self._complete.set()
        for listener in self._listeners:
            listener()

    async def _synced(self, informer: Informer[Metadata]) -> None:
        """Until the informer is; a resource that vanishes meanwhile never will be."""
        waits = [asyncio.ensure_future(informer.wait_synced()), asyncio.ensure_future(self._stale.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _drop(self, resource: Resource) -> None:
        """Forget a resource; for the handlers its objects are gone."""
        task = self._running.pop(resource)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for obj in self._informers.pop(resource).list():
            for handler in self._handlers:
                handler(obj, None)
