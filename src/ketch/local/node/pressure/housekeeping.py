"""The look at the machine every few seconds, and what follows from it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, TransportError
from ketch.local.node.pods import events
from ketch.local.node.pressure.machine import DISK, PROCESSES, Machine, Supply
from ketch.local.node.pressure.measuring import measured
from ketch.local.node.pressure.ranking import Candidate, first_to_go, message
from ketch.local.node.pressure.reclaiming import has_ended
from ketch.local.node.usage import ContainerName
from ketch.local.node.volumes.places import Folders
from ketch.local.node.worker import PodWorker

log = logging.getLogger(__name__)

LOOK_SECONDS, CLOSE_SECONDS = 10.0, 1.0
"""Between two looks: as a kubelet's, and where something is about to run short."""


@dataclass(frozen=True)
class Ways:
    """How the housekeeper sees and acts."""

    observe: Callable[[], Machine]
    report: Callable[[frozenset[str]], Awaitable[None]]
    """Say which conditions hold."""

    free_disk: Callable[[], Awaitable[None]]
    """Remove what nobody uses."""

    pods: Callable[[], Collection[PodWorker]]
    processes: Callable[[], Mapping[ContainerName, int]]
    tidy: Callable[[], None]
    """Small things that could not be removed in their time."""


class Housekeeper:
    """Keeps the machine usable: see the package's law."""

    def __init__(self, clock: Clock, folders: Folders, ways: Ways) -> None:
        self._clock = clock
        self._folders = folders
        self._ways = ways
        self._conditions: frozenset[str] = frozenset()
        self._told: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            machine = await self.look()
            await self._clock.sleep(CLOSE_SECONDS if machine.near or self._told != self._conditions else LOOK_SECONDS)

    async def look(self) -> Machine:
        """One look, and one step towards room where there is too little."""
        self._ways.tidy()
        machine = self._ways.observe()
        short = machine.short(self._conditions)
        self._conditions = frozenset(each.condition for each in short)
        if DISK in self._conditions:
            await self._ways.free_disk()
            machine = self._ways.observe()
        await self._tell()
        if scarce := [each for each in machine.short() if each.condition != PROCESSES]:
            await self._evict_one(scarce)
        return machine

    async def _tell(self) -> None:
        if self._told == self._conditions:
            return
        try:
            await self._ways.report(self._conditions)
        except (APIError, TransportError) as error:
            log.warning("the node's conditions are not told yet: %s", error)
        else:
            self._told = self._conditions

    async def _evict_one(self, scarce: Sequence[Supply]) -> None:
        """The pod that is to go, unless one is on its way already: what it leaves may be enough."""
        workers = {each.machine.uid: each for each in self._ways.pods() if not has_ended(each)}
        if any(each.machine.ending is not None and each.machine.ending.failure for each in workers.values()):
            return
        pods = {uid: each.pod for uid, each in workers.items() if each.machine.ending is None}
        for supply in scarce:
            taken = await asyncio.to_thread(measured, self._folders, pods, self._ways.processes(), supply)
            chosen = first_to_go((Candidate(pods[uid], used) for uid, used in taken.items()), supply)
            if chosen is not None:
                log.warning("pod %s is evicted: the node is low on %s", chosen.pod.key, supply.resource)
                workers[chosen.pod.metadata.uid].tell(events.Evicted(message(chosen, supply)))
                return
