"""Pods that nobody will end any more go: those of nodes that are gone, and the oldest of very many that have ended."""

from datetime import UTC, datetime
from typing import Any

from ketch.kube.client import DeleteOptions
from ketch.kube.controller import Result
from ketch.kube.errors import Conflict, NotFound
from ketch.kube.manager import Manager, Maps
from ketch.kube.meta import ObjectKey
from ketch.kube.transport import STRATEGIC_MERGE_PATCH
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Pod
from ketch.local.workloads.nodes.eviction import BY_NODE, node_of
from ketch.local.workloads.pods import FAILED, is_deleting, is_terminal

MANAGER = "pod-garbage-collector"
QUARANTINE_SECONDS = 40.0
"""How long a node may be missing before its pods are given up."""
MOST_ENDED = 12_500
"""So many pods that have ended are kept."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class GoneNodeReconciler:
    """Gives up pods whose node does not exist, and ends deleted pods that never had one."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._pods = manager.informer(Pod)
        self._nodes = manager.informer(Node)
        self._missing: dict[str, float] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass over a pod."""
        pod = self._pods.get(key)
        if pod is None or not pod.spec.node_name:
            return Result()
        name = pod.spec.node_name
        if self._nodes.get(ObjectKey("", name)) is not None:
            self._missing.pop(name, None)
            return Result()
        since = self._missing.setdefault(name, self._clock.monotonic())
        left = since + QUARANTINE_SECONDS - self._clock.monotonic()
        if left > 0:
            return Result(requeue_after=left + 0.001)
        try:
            await self._client.get(Node, name)
        except NotFound:
            await self._give_up(pod)
        return Result()

    async def _give_up(self, pod: Pod) -> None:
        meta = pod.metadata
        try:
            if not is_terminal(pod):
                status: dict[str, Any] = {
                    "phase": FAILED,
                    "reason": "NodeLost",
                    "message": "PodGC: node no longer exists",
                }
                await self._client.patch(
                    Pod,
                    meta.name,
                    meta.namespace,
                    {"status": status},
                    content_type=STRATEGIC_MERGE_PATCH,
                    manager=MANAGER,
                    subresource="status",
                )
            options = DeleteOptions(grace_period_seconds=0, uid=meta.uid)
            await self._client.delete(Pod, meta.name, meta.namespace, options)
        except (NotFound, Conflict):
            return  # gone, or another pod of that name


class EndedPodsReconciler:
    """Keeps no more than ``most`` pods that have ended; it has one key."""

    def __init__(self, manager: Manager, most: int = MOST_ENDED) -> None:
        self._client = manager.client
        self._pods = manager.informer(Pod)
        self._most = most

    async def reconcile(self, key: ObjectKey) -> Result:  # noqa: ARG002  # there is only the one
        """Delete the oldest of too many."""
        ended = [pod for pod in self._pods.list() if is_terminal(pod) and not is_deleting(pod)]
        ended.sort(key=lambda pod: pod.metadata.creation_timestamp or BEGINNING)
        for pod in ended[: max(0, len(ended) - self._most)]:
            try:
                await self._client.delete(Pod, pod.metadata.name, pod.metadata.namespace)
            except NotFound:
                continue
        return Result()


def setup(manager: Manager, most_ended: int = MOST_ENDED) -> None:
    """Run the controllers."""
    pods, nodes = manager.informer(Pod), manager.informer(Node)
    pods.add_index(BY_NODE, node_of)

    def homeless(pod: Pod) -> list[ObjectKey]:
        known = not pod.spec.node_name or nodes.get(ObjectKey("", pod.spec.node_name)) is not None
        return [] if known else [pod.key]

    gone = manager.controller("pods-of-gone-nodes", GoneNodeReconciler(manager), Maps(pods, homeless))
    ended = manager.controller("ended-pods", EndedPodsReconciler(manager, most_ended), workers=1)
    counted: set[str] = set()

    def node_changed(old: Node | None, new: Node | None) -> None:
        node = old or new
        if node is not None and (old is None or new is None):
            for pod in pods.by_index(BY_NODE, node.metadata.name):
                gone.enqueue(pod.key)

    def pod_changed(old: Pod | None, new: Pod | None) -> None:
        """Count those that have ended; the list is gone through only when they are too many."""
        if new is None:
            if old is not None:
                counted.discard(old.metadata.uid)
        elif is_terminal(new) and new.metadata.uid not in counted:
            counted.add(new.metadata.uid)
            if len(counted) > most_ended:
                ended.enqueue(ObjectKey("", "ended"))

    nodes.add_handler(node_changed)
    pods.add_handler(pod_changed)
