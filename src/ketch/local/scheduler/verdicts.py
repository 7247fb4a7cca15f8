"""What the scheduler writes besides bindings: why a pod has no node, and that one must go for a dearer one."""

import asyncio

from ketch.kube.client import DeleteOptions
from ketch.kube.codec import encode
from ketch.kube.conditions import find, set_conditions
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.events import PacedEvents
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.transport import STRATEGIC_MERGE_PATCH
from ketch.kube.types.pods import Pod, PodCondition, PodStatus
from ketch.local.scheduler.occupants import Occupant
from ketch.local.scheduler.reading import NAME, is_ours

SCHEDULED, UNSCHEDULABLE, GATED = "PodScheduled", "Unschedulable", "SchedulingGated"
DISRUPTED, PREEMPTED = "DisruptionTarget", "PreemptionByScheduler"
RETRY_SECONDS = 1.0


class Verdicts:
    """One write at a time for a pod; the newest is the last."""

    def __init__(
        self, manager: Manager, events: PacedEvents, writes: asyncio.Semaphore, tasks: asyncio.TaskGroup
    ) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._pods = manager.informer(Pod)
        self._events = events
        self._writes = writes
        self._tasks = tasks
        self._telling: dict[str, asyncio.Task[None]] = {}

    async def told(self, uid: str) -> None:
        """Until what was to be told of the pod is written: an older verdict must not be written over a binding."""
        if (telling := self._telling.get(uid)) is not None:
            await telling

    def tell(self, uid: str, key: ObjectKey, reason: str, message: str, node: str = "") -> None:
        """Write a verdict into the pod's conditions and, when it is news, as an event.

        ``node`` is where room is being made for the pod.
        """
        before = self._telling.get(uid)
        verdict = PodCondition(type=SCHEDULED, status="False", reason=reason, message=message)
        task = self._tasks.create_task(self._write(uid, key, verdict, node, before))
        self._telling[uid] = task
        task.add_done_callback(lambda done: self._telling.pop(uid) if self._telling.get(uid) is done else None)

    async def _write(
        self, uid: str, key: ObjectKey, verdict: PodCondition, node: str, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await before
        pod = self._pods.get(key)
        if pod is None or pod.metadata.uid != uid or not is_ours(pod):
            return
        known = find(pod.status.conditions, SCHEDULED)
        is_known = known is not None and (known.reason, known.message) == (verdict.reason, verdict.message)
        if is_known and pod.status.nominated_node_name == node:
            return
        conditions = set_conditions((known,) if known else (), verdict, now=self._clock.now())
        status = PodStatus(conditions=conditions, nominated_node_name=node)
        told = Pod(metadata=ObjectMeta(name=key.name, namespace=key.namespace), status=status)
        try:
            async with self._writes:
                await self._client.apply_status(told, manager=NAME)
        except (APIError, TransportError):
            return  # gone, or the server is: the next verdict tells
        if verdict.reason == UNSCHEDULABLE and not is_known:
            self._events.tell(pod, "Warning", "FailedScheduling", verdict.message)

    def preempt(self, victim: Occupant, by: ObjectKey, node: str) -> None:
        """End a pod because a dearer one needs its room; it has its grace period."""
        self._tasks.create_task(self._preempt(victim, by, node))

    async def _preempt(self, victim: Occupant, by: ObjectKey, node: str) -> None:
        text = f"{NAME}: preempting to accommodate a higher priority pod"
        condition = PodCondition(type=DISRUPTED, status="True", reason=PREEMPTED, message=text)
        (told,) = set_conditions((), condition, now=self._clock.now())
        body = {"metadata": {"uid": victim.uid}, "status": {"conditions": [encode(told)]}}
        name, namespace = victim.key.name, victim.key.namespace
        pod = self._pods.get(victim.key)  # afterwards it may be gone at once
        while True:
            try:
                async with self._writes:
                    await self._client.patch(
                        Pod,
                        name,
                        namespace,
                        body,
                        content_type=STRATEGIC_MERGE_PATCH,
                        manager=NAME,
                        subresource="status",
                    )
                    await self._client.delete(Pod, name, namespace, DeleteOptions(uid=victim.uid))
            except (NotFound, Conflict):
                return  # gone, or another pod of that name
            except (APIError, TransportError):
                await self._clock.sleep(RETRY_SECONDS)
            else:
                break
        if pod is not None and pod.metadata.uid == victim.uid:
            self._events.tell(pod, "Normal", "Preempted", f"Preempted by {by} on node {node}")
