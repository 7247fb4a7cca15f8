"""A controller: keys from a queue to a reconciler, and what its outcome means.

==========================  =========================================================
``Result()``                done; the back-off is forgotten
``Result(requeue_after=n)`` done for now; the key comes again in ``n`` seconds, others first
``Terminal``                logged and not retried; the next change of the object is
any other exception         the key comes again after a back-off that grows
==========================  =========================================================
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from ketch.kube.clock import Clock
from ketch.kube.errors import AlreadyExists, Conflict, TransportError, Unavailable
from ketch.kube.meta import ObjectKey
from ketch.kube.queue import QueueClosed, WorkQueue

log = logging.getLogger(__name__)

STOP_GRACE_SECONDS = 10.0
_EXPECTED = (AlreadyExists, Conflict, TransportError, Unavailable)
"""Failures that a retry on fresher data heals: told in a line, without a traceback."""


@dataclass(frozen=True, slots=True)
class Result:
    """Done. ``requeue_after`` only when time itself matters."""

    requeue_after: float | None = None


class Terminal(Exception):
    """Trying again cannot help until the object changes. Record why in a condition before raising it."""


class Reconciler(Protocol):
    """Brings the world nearer to what one object asks for."""

    async def reconcile(self, key: ObjectKey) -> Result:
        """Read all that is needed, compute, write the difference. The object may be absent."""
        ...


@dataclass(slots=True)
class Outcomes:
    """How often reconciliations ended how."""

    done: int = 0
    requeued: int = 0
    failed: int = 0
    terminal: int = 0


class Controller:
    """Runs ``reconciler`` on queued keys: up to ``workers`` at once, never two on one key."""

    def __init__(self, name: str, reconciler: Reconciler, clock: Clock, workers: int = 4) -> None:
        self.name = name
        self.outcomes = Outcomes()
        self.queue = WorkQueue(clock)
        self._reconciler = reconciler
        self._workers = workers

    def enqueue(self, key: ObjectKey) -> None:
        """Reconcile ``key`` soon."""
        self.queue.add(key)

    def enqueue_after(self, key: ObjectKey, seconds: float) -> None:
        """Reconcile ``key`` in ``seconds``, or earlier if that was asked for already."""
        self.queue.add_after(key, seconds)

    async def run(self) -> None:
        """Work until cancelled; then take no more keys and let what has begun end within a grace period."""
        workers = [asyncio.create_task(self._work(), name=f"{self.name}-{number}") for number in range(self._workers)]
        try:
            await asyncio.wait(workers)
        finally:
            self.queue.close()
            _, late = await asyncio.wait(workers, timeout=STOP_GRACE_SECONDS)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while True:
                async with self.queue.take() as key:
                    await self._reconcile(key)
        except QueueClosed:
            return

    async def _reconcile(self, key: ObjectKey) -> None:
        try:
            result = await self._reconciler.reconcile(key)
        except Terminal as error:
            self.outcomes.terminal += 1
            self.queue.forget(key)
            log.warning("%s: %s: not retried: %s", self.name, key, error)
        except _EXPECTED as error:
            self.outcomes.failed += 1
            log.info("%s: %s: %s; again in %.3g s", self.name, key, error, self.queue.retry(key))
        except Exception:  # the loop's owner: a reconciler's error must not end its controller
            self.outcomes.failed += 1
            log.exception("%s: %s: again in %.3g s", self.name, key, self.queue.retry(key))
        else:
            self.queue.forget(key)
            if result.requeue_after is None:
                self.outcomes.done += 1
            else:
                self.outcomes.requeued += 1
                self.queue.add_after(key, result.requeue_after)
                if result.requeue_after <= 0:
                    # A pass that waited for nothing would keep the event loop, and what it asks for again never come.
                    await asyncio.sleep(0)  # noqa: TID251  # a turn of the loop, not a time
