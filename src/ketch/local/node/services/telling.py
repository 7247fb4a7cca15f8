"""Keeping the network daemon's tables like the API's: changes that come together are told together."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ketch.kube.clock import Clock
from ketch.kube.informer import Informer
from ketch.kube.meta import KubeObject, ObjectKey
from ketch.kube.types.core import Pod
from ketch.local.network.client import NetworkError
from ketch.local.node.pods.status import TERMINAL_PHASES

log = logging.getLogger(__name__)


class Telling:
    """Calls ``tell`` after changes: ``pause`` seconds apart, and again ``retry`` seconds after it failed."""

    def __init__(self, tell: Callable[[], Coroutine[Any, Any, None]], clock: Clock, *, pause: float, retry: float):
        self._tell = tell
        self._clock = clock
        self._pause = pause
        self._retry = retry
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """There is something to tell."""
        self._changed.set()

    def on_change(self, old: KubeObject | None, new: KubeObject | None) -> None:  # noqa: ARG002  # a handler
        """An object came, changed or went."""
        self._changed.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._tell()
            except NetworkError as error:
                log.warning("the network was not told what has changed: %s", error)
                await self._clock.sleep(self._retry)
                self._changed.set()
            else:
                await self._clock.sleep(self._pause)


class LivingPods:
    """The pods with an address of their own: of many that have ended, none costs anything any more.

    ``changed`` is called when one comes or goes, or when what ``seen`` gives of it has changed.
    """

    def __init__(self, pods: Informer[Pod], seen: Callable[[Pod], object], changed: Callable[[], None]) -> None:
        self._pods: dict[ObjectKey, Pod] = {}
        self._seen = seen
        self._changed = changed
        pods.add_handler(self._on_pod)

    def all(self) -> Iterable[Pod]:
        """All of them."""
        return self._pods.values()

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        if new is None or new.status.phase in TERMINAL_PHASES or not new.status.pod_ip:
            if self._pods.pop(pod.key, None) is not None:
                self._changed()
            return
        before = self._pods.get(new.key)
        self._pods[new.key] = new
        if before is None or self._seen(before) != self._seen(new):
            self._changed()
