"""A pod's status on its way to the API server: at once, one write at a time, always the newest."""

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
CLEARED = ("message", "reason", "podIP", "podIPs", "nominatedNodeName")
"""Fields that a newer status may lack: a patch must say so."""


class Reporter:
    """Writes the status of one pod."""

    def __init__(self, client: Client, clock: Clock, pod: Pod) -> None:
        self._client = client
        self._clock = clock
        self._meta = pod.metadata
        self._wanted: PodStatus | None = None
        self._task: asyncio.Task[None] | None = None

    def report(self, status: PodStatus) -> None:
        """Tell ``status``, unless a newer one comes first."""
        self._wanted = status
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def settled(self) -> None:
        """Until the newest status is told."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Give up what is not told yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

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
