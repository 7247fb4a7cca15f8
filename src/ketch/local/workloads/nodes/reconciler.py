"""Nodes: one whose agent has been silent for too long is Unknown; taints say what a node's state means for pods."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from ketch.kube.codec import encode
from ketch.kube.conditions import find, set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.manager import For, Manager, Maps
from ketch.kube.meta import ObjectKey
from ketch.kube.transport import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from ketch.kube.types.coordination import Lease
from ketch.kube.types.core import Node, NodeCondition, Taint

MANAGER = "node-lifecycle-controller"
LEASES = "kube-node-lease"
GRACE_SECONDS = 40.0
"""How long an agent may be silent."""
READY = "Ready"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
OURS = (NOT_READY, UNREACHABLE)
NO_SCHEDULE = "NoSchedule"
EFFECTS = (NO_SCHEDULE, "NoExecute")
OF_PRESSURE = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}
"""Conditions in which a node takes no new pods, and the taints that say so."""

UNKNOWN_REASON, UNKNOWN_MESSAGE = "NodeStatusUnknown", "Kubelet stopped posting node status."


def wanted_taint(node: Node) -> str | None:
    """The key of the taint that a node's readiness calls for."""
    ready = find(node.status.conditions, READY)
    if ready is None or ready.status == "Unknown":
        return UNREACHABLE if ready is not None else NOT_READY
    return None if ready.status == "True" else NOT_READY


def taints(node: Node, now: datetime) -> tuple[Taint, ...]:
    """The node's taints as they should be: others' are kept, ours keep the time since when they hold."""
    key = wanted_taint(node)
    wanted = [(key, effect) for effect in EFFECTS if key]
    for kind, taint in OF_PRESSURE.items():
        condition = find(node.status.conditions, kind)
        if condition is not None and condition.status == "True":
            wanted.append((taint, NO_SCHEDULE))
    ours = {*OURS, *OF_PRESSURE.values()}
    kept = tuple(each for each in node.spec.taints if each.key not in ours or (each.key, each.effect) in wanted)
    known = {(each.key, each.effect) for each in kept}
    now = now.replace(microsecond=0)
    added = (Taint(key=key, effect=effect, time_added=now) for key, effect in wanted if (key, effect) not in known)
    return (*kept, *added)


def unknown(node: Node, now: datetime) -> Sequence[NodeCondition]:
    """The conditions of a node that is silent, where they must change."""
    told = node.status.conditions or (NodeCondition(type=READY, status="Unknown"),)
    fresh = [
        msgspec.structs.replace(each, status="Unknown", reason=UNKNOWN_REASON, message=UNKNOWN_MESSAGE)
        for each in told
        if each.reason != UNKNOWN_REASON
    ]
    changed = {each.type for each in fresh}
    merged = set_conditions(node.status.conditions, *fresh, now=now)
    return [each for each in merged if each.type in changed]


class NodeReconciler:
    """Watches over agents' signs of life.

    Silence is measured from when a sign was seen, on this machine's steady clock: a machine that slept has not missed
    any, and two machines' clocks need not agree.
    """

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._nodes = manager.informer(Node)
        self._leases = manager.informer(Lease, LEASES)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)
        self._signs: dict[str, tuple[object, float]] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        node = self._nodes.get(key)
        if node is None:
            self._signs.pop(key.name, None)
            return Result()
        left = self._patience(node)
        try:
            if left <= 0 and (conditions := unknown(node, self._clock.now())):
                body = {"status": {"conditions": [encode(each) for each in conditions]}}
                await self._client.patch(
                    Node,
                    key.name,
                    "",
                    body,
                    content_type=STRATEGIC_MERGE_PATCH,
                    manager=MANAGER,
                    subresource="status",
                )
                text = f"Node {key.name} status is now: NodeNotReady"
                await self._events.record(node, "Normal", "NodeNotReady", text)
                return Result()  # its event brings the key back
            await self._taint(node)
        except NotFound:
            return Result()
        return Result(requeue_after=left + 0.001) if left > 0 else Result()

    def _patience(self, node: Node) -> float:
        """Seconds that the agent may stay silent from now on."""
        lease = self._leases.get(ObjectKey(LEASES, node.metadata.name))
        said = [each for each in node.status.conditions if each.reason != UNKNOWN_REASON]
        beats = tuple((each.type, each.status, each.last_heartbeat_time) for each in said)
        sign = (lease.spec.renew_time if lease else None, beats)
        now = self._clock.monotonic()
        known = self._signs.get(node.metadata.name)
        if known is None or known[0] != sign:
            known = self._signs[node.metadata.name] = (sign, now)
        return known[1] + GRACE_SECONDS - now

    async def _taint(self, node: Node) -> None:
        wanted = taints(node, self._clock.now())
        if wanted == node.spec.taints:
            return
        meta = node.metadata
        body = {
            "metadata": {"resourceVersion": meta.resource_version},
            "spec": {"taints": [encode(each) for each in wanted] or None},
        }
        await self._client.patch(Node, meta.name, "", body, content_type=MERGE_PATCH, manager=MANAGER)


def setup(manager: Manager) -> None:
    """Run the controller."""

    def of_lease(lease: Lease) -> Iterable[ObjectKey]:
        return (ObjectKey("", lease.metadata.name),)

    manager.controller(
        "nodes",
        NodeReconciler(manager),
        For(manager.informer(Node)),
        Maps(manager.informer(Lease, LEASES), of_lease),
    )
