"""Pods leave nodes with NoExecute taints: at once, or after as long as they tolerate them."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from ketch.kube.client import DeleteOptions
from ketch.kube.codec import encode
from ketch.kube.conditions import set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import Conflict, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.manager import Manager, Maps
from ketch.kube.meta import ObjectKey
from ketch.kube.transport import STRATEGIC_MERGE_PATCH
from ketch.kube.types.core import Node, Taint
from ketch.kube.types.pods import Pod, PodCondition, Toleration
from ketch.local.workloads.pods import is_active

MANAGER = "taint-eviction-controller"
NO_EXECUTE = "NoExecute"
BY_NODE = "eviction.node"


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a pod with this toleration may stay in spite of the taint, for a while at least."""
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (bool(toleration.key) and toleration.value == taint.value)


def stays_for(pod: Pod, taints: Iterable[Taint], now: datetime) -> float | None:
    """Seconds that the pod may still stay; None for as long as it likes."""
    shortest: float | None = None
    for taint in taints:
        if taint.effect != NO_EXECUTE:
            continue
        bearing = [each for each in pod.spec.tolerations if tolerates(each, taint)]
        if not bearing:
            return 0.0
        limits = [each.toleration_seconds for each in bearing if each.toleration_seconds is not None]
        if not limits:
            continue
        begun = taint.time_added or now
        left = (begun + timedelta(seconds=max(0, min(limits))) - now).total_seconds()
        shortest = left if shortest is None else min(shortest, left)
    return None if shortest is None else max(0.0, shortest)


class EvictionReconciler:
    """Deletes pods that have stayed long enough."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._pods = manager.informer(Pod)
        self._nodes = manager.informer(Node)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass over a pod."""
        pod = self._pods.get(key)
        if pod is None or not pod.spec.node_name or not is_active(pod):
            return Result()
        node = self._nodes.get(ObjectKey("", pod.spec.node_name))
        left = stays_for(pod, node.spec.taints, self._clock.now()) if node else None
        if left is None:
            return Result()
        if left > 0:
            return Result(requeue_after=left + 0.001)
        try:
            await self._evict(pod)
        except (NotFound, Conflict):
            return Result()  # gone, or another pod of that name
        return Result()

    async def _evict(self, pod: Pod) -> None:
        meta = pod.metadata
        text = "Taint manager: deleting due to NoExecute taint"
        condition = PodCondition(type="DisruptionTarget", status="True", reason="DeletionByTaintManager", message=text)
        (told,) = set_conditions((), condition, now=self._clock.now())
        await self._client.patch(
            Pod,
            meta.name,
            meta.namespace,
            {"status": {"conditions": [encode(told)]}},
            content_type=STRATEGIC_MERGE_PATCH,
            manager=MANAGER,
            subresource="status",
        )
        await self._events.record(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {pod.key}")
        await self._client.delete(Pod, meta.name, meta.namespace, DeleteOptions(uid=meta.uid))


def node_of(pod: Pod) -> Iterator[str]:
    """The node that the pod is on."""
    if pod.spec.node_name:
        yield pod.spec.node_name


def setup(manager: Manager) -> None:
    """Run the controller."""
    pods, nodes = manager.informer(Pod), manager.informer(Node)
    pods.add_index(BY_NODE, node_of)

    def endangered(pod: Pod) -> list[ObjectKey]:
        """Pods that come to a node which has such a taint already."""
        node = nodes.get(ObjectKey("", pod.spec.node_name))
        return [pod.key] if node and any(each.effect == NO_EXECUTE for each in node.spec.taints) else []

    controller = manager.controller("eviction", EvictionReconciler(manager), Maps(pods, endangered))

    def tainted(old: Node | None, new: Node | None) -> None:
        if new is not None and (old is None or old.spec.taints != new.spec.taints):
            for pod in pods.by_index(BY_NODE, new.metadata.name):
                controller.enqueue(pod.key)

    nodes.add_handler(tainted)
