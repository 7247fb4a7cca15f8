"""Writes progress into jobs' statuses: what comes for one job while a write is under way is written together."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.meta import KubeObject, ObjectKey, ObjectMeta
from ketch.training.progress.merging import progress_of
from ketch.training.progress.types import Progress

MANAGER: Final = "trainer-status"
"""The field manager of upstream's status server."""

PAUSE: Final = 0.2
"""Seconds between two writes of one job: many ranks report at the same time."""

Change = Callable[[Progress], Progress]


class Target(NamedTuple):
    """A job."""

    kind: type[KubeObject]
    key: ObjectKey


class ProgressRecorder:
    """The only writer of these fields."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._waiting: dict[Target, list[tuple[Change, asyncio.Future[None]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def record(self, target: Target, change: Change) -> None:
        """Change the job's progress; returns when it is written. Raises APIError, TransportError."""
        done = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(target)
        if waiting is not None:
            waiting.append((change, done))
        else:
            self._waiting[target] = [(change, done)]
            task = asyncio.create_task(self._drain(target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await done

    async def _drain(self, target: Target) -> None:
        while batch := self._waiting[target]:
            self._waiting[target] = []
            error: Exception | None = None
            try:
                await self._write(target, [change for change, _ in batch])
            except Exception as caught:  # noqa: BLE001  # whatever it is, those who wait must hear of it
                error = caught
            for _, done in batch:
                if not done.done():  # who waited for it may be gone
                    done.set_result(None) if error is None else done.set_exception(error)
            await self._clock.sleep(PAUSE)
        del self._waiting[target]

    async def _write(self, target: Target, changes: list[Change]) -> None:
        kind, key = target
        job: Any = await self._client.get(kind, key.name, key.namespace)
        before = after = progress_of(job.status)
        for change in changes:
            after = change(after)
        if after == before:
            return
        fields = {name: getattr(after, name) for name in Progress.__struct_fields__ if name != "unknown_fields"}
        meta = ObjectMeta(name=key.name, namespace=key.namespace, uid=job.metadata.uid)
        written = msgspec.structs.replace(job, metadata=meta, status=type(job.status)(**fields))
        await self._client.apply_status(written, manager=MANAGER)
