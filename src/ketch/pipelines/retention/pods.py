"""Of the pods of steps that are over, only the newest stay: their logs are kept elsewhere, and each costs memory.

The cluster's own collector keeps many more and knows nothing of runs; here a pod goes only when its task's row says
that the engine has read all it had to say.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select

from ketch.kube.client import Client, DeleteOptions
from ketch.kube.clock import Clock
from ketch.kube.controller import Result
from ketch.kube.errors import Conflict, NotFound
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import Pod
from ketch.metadata.database import Database
from ketch.pipelines.records.states import FINAL
from ketch.pipelines.records.tables import Task
from ketch.pipelines.steps.step import TASK_LABEL

MOST_ENDED: Final = 1_000
"""So many pods of steps that are over are kept."""
AT_WORST: Final = 10
"""So many times that are let be while steps go on ending: deleting would take from them what they need."""
QUIET_SECONDS: Final = 5.0
"""After so long without an end, steps are taken to have stopped ending."""
ALL_PODS: Final = ObjectKey("", "pods")
"""The one key."""
AGAIN_SECONDS: Final = 60.0
_BATCH: Final = 200
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EndedPods:
    """Counts pods that have ended and deletes the oldest of too many. Register ``seen`` as the handler of ``pods``."""

    def __init__(
        self, client: Client, pods: Informer[Pod], database: Database, clock: Clock, most: int = MOST_ENDED
    ) -> None:
        self._client, self._pods, self._database, self._clock, self._most = client, pods, database, clock, most
        self._ended: set[str] = set()
        self._last = 0.0

    def seen(self, old: Pod | None, new: Pod | None) -> bool:
        """Take note of a change; whether a pod has ended that makes too many."""
        if new is None:
            if old is not None:
                self._ended.discard(old.metadata.uid)
            return False
        if not _is_over(new) or new.metadata.uid in self._ended:
            return False
        self._ended.add(new.metadata.uid)
        self._last = self._clock.monotonic()
        return len(self._ended) > self._most

    async def reconcile(self, key: ObjectKey) -> Result:  # noqa: ARG002  # there is only the one
        """Delete the oldest of too many that the engine has read, in a quiet moment."""
        if len(self._ended) <= self._most:
            return Result()
        quiet = self._last + QUIET_SECONDS - self._clock.monotonic()
        at_worst = self._most * AT_WORST
        if quiet > 0 and len(self._ended) <= at_worst:
            return Result(requeue_after=quiet)
        keep = self._most if quiet <= 0 else at_worst * 9 // 10
        ended = [pod for pod in self._pods.list() if _is_over(pod) and pod.metadata.deletion_timestamp is None]
        ended.sort(key=lambda pod: (pod.metadata.creation_timestamp or _BEGINNING, pod.metadata.name))
        surplus = ended[: max(0, len(ended) - keep)]
        for start in range(0, len(surplus), _BATCH):
            for pod in await self._read(surplus[start : start + _BATCH]):
                await self._delete(pod)
        return Result(requeue_after=AGAIN_SECONDS)  # for those that had to be left

    async def _read(self, pods: Sequence[Pod]) -> Sequence[Pod]:
        """Those whose tasks are over, or gone."""
        tasks = {pod.metadata.labels.get(TASK_LABEL, "") for pod in pods}
        query = select(Task.id).where(Task.id.in_(tasks), Task.state.not_in(FINAL))
        async with self._database.session() as session:
            going_on = set((await session.scalars(query)).all())
        return [pod for pod in pods if pod.metadata.labels.get(TASK_LABEL, "") not in going_on]

    async def _delete(self, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._client.delete(Pod, meta.name, meta.namespace, DeleteOptions(uid=meta.uid))
        except (NotFound, Conflict):
            return  # gone, or another pod of that name


def _is_over(pod: Pod) -> bool:
    return pod.status.phase in _ENDED
