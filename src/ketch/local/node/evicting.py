"""Ends pods that take more disk than they may, or memory for volumes. Pods without such limits cost nothing."""

import asyncio
from collections.abc import Callable, Collection

from ketch.kube.clock import Clock
from ketch.local.node.pods import events
from ketch.local.node.volumes.limits import broken, limits_of, measure
from ketch.local.node.volumes.places import Folders
from ketch.local.node.worker import PodWorker

LOOK_SECONDS = 10.0
"""How often the disk is looked at, as a kubelet does."""


class StorageWatch:
    """Looks at what pods with limits have written."""

    def __init__(
        self, clock: Clock, folders: Folders, pods: Callable[[], Collection[PodWorker]], seconds: float = LOOK_SECONDS
    ) -> None:
        self._clock = clock
        self._folders = folders
        self._pods = pods
        self._seconds = seconds

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(self._seconds)
            await self.look()

    async def look(self) -> None:
        """One look at every pod that has limits and goes on."""
        for worker in tuple(self._pods()):
            limits = limits_of(worker.pod)
            if not limits or worker.machine.ending is not None:
                continue
            usage = await asyncio.to_thread(measure, self._folders, worker.pod, limits)
            if why := broken(limits, usage):
                worker.tell(events.Evicted(why))
