"""A pod's status on its way to the API server: one write at a time, always the newest.

What others wait for goes at once: a new phase, and whatever happens while the pod runs. The steps before and after are
told when they last: of a pod that starts in 30 ms nobody sees them, and each would be a write for every watcher. Where
many pods are at such steps, each takes longer, and lasts only when it takes longer than that.
"""

import asyncio
import logging

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.codec import encode
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.transport import STRATEGIC_MERGE_PATCH
from ketch.kube.types.core import Pod, PodStatus

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
QUIET, LONGEST_QUIET = 0.1, 5.0
"""Seconds after which a step that nobody waits for is told: of a pod alone, and at most."""

BRIEF, LONGEST_BRIEF = 0.02, 0.4
"""Seconds that a pod that may end by itself must run to be called running: the end of one that ends sooner does not
wait until its beginning is told."""

FEW = 2
"""So many pods more that are at such steps add to each what it may take alone."""

RUNNING, ALWAYS = "Running", "Always"
CLEARED = ("message", "reason", "podIP", "podIPs", "nominatedNodeName")
"""Fields that a newer status may lack: a patch must say so."""


class Pace:
    """How long the steps of a node's pods may take before they are told."""

    def __init__(self) -> None:
        self._waiting = 0

    def begin(self) -> None:
        """One more pod is at such a step."""
        self._waiting += 1

    def end(self) -> None:
        """One pod less is."""
        self._waiting -= 1

    def stretched(self, seconds: float, longest: float) -> float:
        """What the seconds that one pod alone would be given come to now."""
        return min(seconds * (1 + (self._waiting - 1) / FEW), longest)


class Reporter:
    """Writes the status of one pod."""

    def __init__(self, client: Client, clock: Clock, pod: Pod, pace: Pace) -> None:
        self._client = client
        self._clock = clock
        self._pace = pace
        self._meta = pod.metadata
        self._phase = pod.status.phase
        self._stays = (pod.spec.restart_policy or ALWAYS) == ALWAYS
        self._beginning = False
        self._wanted: PodStatus | None = None
        self._task: asyncio.Task[None] | None = None
        self._later: asyncio.Task[None] | None = None

    def report(self, status: PodStatus) -> None:
        """Tell ``status``, unless a newer one comes first."""
        news, runs = status.phase != self._phase, status.phase == RUNNING
        self._wanted, self._phase = status, status.phase
        if runs and news and not self._stays:
            self._beginning = True
            self._tell_after(BRIEF, LONGEST_BRIEF)
        elif (news or runs) and not (runs and self._beginning):
            self._tell()
        elif self._later is None:
            self._tell_after(QUIET, LONGEST_QUIET)

    async def settled(self) -> None:
        """Until the newest status is told."""
        if self._wanted is not None:
            self._tell()
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Give up what is not told yet."""
        tasks = [task for task in (self._later, self._task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self) -> None:
        self._beginning = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def _tell_after(self, seconds: float, longest: float) -> None:
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.create_task(self._tell_later(seconds, longest))

    async def _tell_later(self, seconds: float, longest: float) -> None:
        begun = self._clock.monotonic()
        self._pace.begin()
        try:
            while (left := begun + self._pace.stretched(seconds, longest) - self._clock.monotonic()) > 0:
                await self._clock.sleep(left)
        finally:
            self._pace.end()
        self._later = None
        self._tell()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while (status := self._wanted) is not None:
            try:
                await self._patch(status)
            except (NotFound, Conflict):
                self._wanted = None  # the pod is gone, or another one has its name
            except (APIError, TransportError) as error:
                log.info("status of pod %s/%s not told yet: %s", self._meta.namespace, self._meta.name, error)
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                pause = FIRST_PAUSE
                if self._wanted is status:
                    self._wanted = None

    async def _patch(self, status: PodStatus) -> None:
        body = encode(status)
        body |= {name: None for name in CLEARED if name not in body}
        patch = {"metadata": {"uid": self._meta.uid}, "status": body}
        await self._client.patch(
            Pod,
            self._meta.name,
            self._meta.namespace,
            patch,
            content_type=STRATEGIC_MERGE_PATCH,
            manager="ketch-node",
            subresource="status",
        )
