"""Scheduler: every pod that names no node gets the best one that can run it, or learns why none can."""

import asyncio
from datetime import UTC, datetime

from ketch.kube.conditions import find, set_conditions
from ketch.kube.definitions import AGE, definition_of
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.events import EventRecorder, PacedEvents
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.apiextensions import CustomResourceColumn
from ketch.kube.types.core import Namespace, Node, PersistentVolume, PersistentVolumeClaim
from ketch.kube.types.podgroups import PodGroup
from ketch.kube.types.pods import Pod, PodCondition, PodStatus
from ketch.kube.types.storage import StorageClass
from ketch.local.scheduler.claims import SELECTED_NODE, Found, look, untold
from ketch.local.scheduler.decisions import Unplaced, decide
from ketch.local.scheduler.filters import Change
from ketch.local.scheduler.gangs import Attempt, Gang, Gangs, attempt, group_of
from ketch.local.scheduler.needs import needs_of
from ketch.local.scheduler.queue import Popped, Queue, Waiting
from ketch.local.scheduler.reading import NAME, facts_of, holds_room, is_ours
from ketch.local.scheduler.state import NodeState, State

SCHEDULED, UNSCHEDULABLE, GATED = "PodScheduled", "Unschedulable", "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"
WRITES = 32
"""Bindings and verdicts that are written at once."""
RETRY_SECONDS = 1.0
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Scheduler:
    """Decides one pod after the other, from memory alone; writes what it decided beside that.

    A placed pod counts at once, before the server has it, so that no two pods take the same room.
    """

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._events = PacedEvents(EventRecorder(manager.client, NAME, manager.clock), manager.clock)
        self._pods = manager.informer(Pod)
        self._nodes = manager.informer(Node)
        self._claims = manager.informer(PersistentVolumeClaim)
        self._volumes = manager.informer(PersistentVolume)
        self._classes = manager.informer(StorageClass)
        self._namespaces = manager.informer(Namespace)
        self._groups = manager.informer(PodGroup)
        self._state = State()
        self._queue = Queue()
        self._gangs = Gangs()
        self._work = asyncio.Event()
        self._writes = asyncio.Semaphore(WRITES)
        self._binding: set[str] = set()
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._tasks = asyncio.TaskGroup()
        self._gated: dict[str, Pod] = {}
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(self._node_changed)
        self._namespaces.add_handler(self._namespace_changed)
        self._groups.add_handler(self._group_changed)
        for informer in (self._claims, self._volumes, self._classes):
            informer.add_handler(self._storage_changed)

    async def run(self) -> None:
        """Schedule until cancelled."""
        for informer in (self._pods, self._nodes, self._claims, self._volumes, self._classes, self._namespaces):
            await informer.wait_synced()
        await self._groups.wait_synced()
        try:
            async with self._tasks:
                while True:
                    await self._work.wait()
                    self._work.clear()
                    await self._drain()
        finally:
            await self._events.close()

    async def _drain(self) -> None:
        for pod in self._gated.values():
            self._tell(pod.metadata.uid, pod.key, GATED, GATED_MESSAGE)
        self._gated.clear()
        while (popped := self._queue.pop()) is not None:
            if (gang := self._gangs.by_entry(popped.pod.uid)) is not None:
                self._decide_gang(gang, popped.pod)
            else:
                self._decide(popped)
            await self._clock.sleep(0)  # let writes begin and news come in between two decisions

    # what happens -----------------------------------------------------------------------------------------------

    def _wake(self, change: Change) -> None:
        self._queue.wake(change)
        self._work.set()

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._forget(old.metadata.uid)
        if new is None:
            return
        uid = new.metadata.uid
        if holds_room(new):
            self._queue.remove(uid)
            self._seat(new)
            if self._state.node_of(uid) != new.spec.node_name:
                self._state.place(uid, needs_of(new), new.spec.node_name)
                self._wake(Change.PODS)
        elif not is_ours(new):
            self._forget(uid)
            self._seat(new)  # one that has ended has done its part
        elif uid in self._binding:
            pass
        elif new.spec.scheduling_gates:
            self._queue.remove(uid)
            self._gated[uid] = new
            self._work.set()
        else:
            created = new.metadata.creation_timestamp or BEGINNING
            order = self._queue.order(new.spec.priority or 0, created)
            waiting = Waiting(uid, new.key, needs_of(new), order)
            if (group := group_of(new)) is None:
                self._queue.add(waiting)
            else:
                gang, is_news = self._gangs.join(group, waiting)
                if is_news:
                    self._enqueue(gang)
            self._work.set()

    def _seat(self, pod: Pod) -> None:
        """A pod with a node counts for its gang until it is about to go."""
        group = group_of(pod)
        if group is None or not pod.spec.node_name:
            return
        if pod.metadata.deletion_timestamp is None:
            self._gangs.seat(group, pod.metadata.uid)
        else:
            self._gangs.leave(pod.metadata.uid)

    def _enqueue(self, gang: Gang) -> None:
        """Give the gang its turn anew: something of it has changed."""
        self._queue.remove(gang.uid)
        if gang.waiting:
            self._queue.add(gang.entry)
            self._work.set()

    def _group_changed(self, old: PodGroup | None, new: PodGroup | None) -> None:
        changed = new or old
        if changed is not None:
            self._enqueue(self._gangs.set_least(changed.key, (new.spec.min_member or 1) if new else None))

    def _forget(self, uid: str) -> None:
        self._queue.remove(uid)
        if (gang := self._gangs.leave(uid)) is not None and not gang.waiting:
            self._queue.remove(gang.uid)
        self._gated.pop(uid, None)
        if self._state.displace(uid):
            self._wake(Change.ROOM)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            if old is not None:
                self._state.remove_node(old.metadata.name)
                self._wake(Change.NODES)
        elif self._state.set_node(facts_of(new)):
            self._wake(Change.NODES)

    def _storage_changed(self, *_: object) -> None:
        self._wake(Change.CLAIMS)

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        changed = new or old
        if changed is not None:
            self._state.set_namespace(changed.metadata.name, new.metadata.labels if new else None)

    # deciding ---------------------------------------------------------------------------------------------------

    def claim(self, key: ObjectKey) -> PersistentVolumeClaim | None:
        """A claim by namespace and name."""
        return self._claims.get(key)

    def volume(self, name: str) -> PersistentVolume | None:
        """A volume by name."""
        return self._volumes.get(ObjectKey("", name))

    def storage_class(self, name: str) -> StorageClass | None:
        """A class by name."""
        return self._classes.get(ObjectKey("", name))

    def _decide(self, popped: Popped) -> None:
        """Place, refuse, or let the pod wait for its volumes. Nothing here awaits: no news can come in between."""
        pod = popped.pod
        if popped.refused is not None:
            self._tell(pod.uid, pod.key, UNSCHEDULABLE, popped.refused)
            return
        decision, found = self._find(pod)
        if isinstance(decision, Unplaced):
            self._refuse(pod, decision)
        elif found.to_provide:
            self._queue.park(pod, "", Change.CLAIMS | Change.NODES)
            self._provide(found, decision.name)
        else:
            self._state.place(pod.uid, pod.needs, decision.name)
            self._queue.placed(pod)
            self._begin_binding(pod, decision.name)

    def _find(self, pod: Waiting) -> tuple[NodeState | Unplaced, Found]:
        """A node for the pod, or the verdict; and what its claims mean."""
        found = look(pod.needs, self) if pod.needs.claims else Found()
        if found.problem:
            count = sum(1 for _ in self._state.nodes())
            message = f"0/{count} nodes are available: {found.problem}."
            return Unplaced(message, Change.CLAIMS, shared=True), found
        decision = decide(pod.needs, self._state, found.volumes)
        if isinstance(decision, Unplaced) and pod.needs.claims:
            decision = decision._replace(cure=decision.cure | Change.CLAIMS)
        return decision, found

    def _decide_gang(self, gang: Gang, entry: Waiting) -> None:
        """The same for all of a gang that wait. Nothing here awaits either."""
        if problem := gang.incomplete():
            self._queue.park(entry, problem, Change(0), shared=False)
            for pod in gang.waiting.values():
                self._tell(pod.uid, pod.key, UNSCHEDULABLE, problem)
            return
        outcome = attempt(gang, self._state, self._find)
        for seat in outcome.to_provide:
            self._provide(seat.found, seat.node)
        for seat in outcome.seats:
            self._gangs.seat(gang.key, seat.pod.uid)
            self._begin_binding(seat.pod, seat.node)
        for pod, verdict in outcome.refused:
            self._tell(pod.uid, pod.key, UNSCHEDULABLE, verdict.message)
        if gang.waiting:
            self._queue.park(entry, "", _cure_of(outcome), shared=False)
        else:
            self._queue.placed(entry)

    def _provide(self, found: Found, node: str) -> None:
        if untold(found.to_provide, [each.name for each in self._state.nodes()]):
            self._tasks.create_task(self._select(found, node))

    def _begin_binding(self, pod: Waiting, node: str) -> None:
        self._binding.add(pod.uid)
        self._queue.wake(Change.PODS)
        self._tasks.create_task(self._bind(pod, node))

    def _refuse(self, pod: Waiting, verdict: Unplaced) -> None:
        for each in self._queue.park(pod, verdict.message, verdict.cure, shared=verdict.shared):
            self._tell(each.uid, each.key, UNSCHEDULABLE, verdict.message)

    # writing ----------------------------------------------------------------------------------------------------

    async def _bind(self, pod: Waiting, node: str) -> None:
        if (telling := self._telling.get(pod.uid)) is not None:
            await telling  # an older verdict must not be written over the binding
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        bound, moment = self._pods.get(pod.key), self._clock.now()
        try:
            async with self._writes:
                await self._client.create_subresource(Pod, pod.key.name, pod.key.namespace, "binding", body)
        except (NotFound, Conflict):
            # Deleted, or placed by someone else: the watch tells which.
            self._binding.discard(pod.uid)
            self._unassume(pod, node)
        except (APIError, TransportError):
            self._unassume(pod, node)
            await self._clock.sleep(RETRY_SECONDS)
            self._binding.discard(pod.uid)
            current = self._pods.get(pod.key)
            if current is not None and current.metadata.uid == pod.uid:
                self._pod_changed(current, current)
        else:
            self._binding.discard(pod.uid)
            if bound is not None:
                message = f"Successfully assigned {pod.key} to {node}"
                # The node may be quicker to tell of the pod: this came first.
                self._events.tell(bound, "Normal", "Scheduled", message, moment)

    def _unassume(self, pod: Waiting, node: str) -> None:
        """Take the assumption back, unless the watch has confirmed it."""
        current = self._pods.get(pod.key)
        if current is None or current.metadata.uid != pod.uid or current.spec.node_name != node:
            self._forget(pod.uid)

    async def _select(self, found: Found, node: str) -> None:
        body = {"metadata": {"annotations": {SELECTED_NODE: node}}}
        for claim in found.to_provide:
            try:
                async with self._writes:
                    await self._client.patch(
                        PersistentVolumeClaim,
                        claim.metadata.name,
                        claim.metadata.namespace,
                        body,
                        content_type=MERGE_PATCH,
                        manager=NAME,
                    )
            except NotFound:
                continue
            except (APIError, TransportError):
                await self._clock.sleep(RETRY_SECONDS)
                self._wake(Change.CLAIMS)

    def _tell(self, uid: str, key: ObjectKey, reason: str, message: str) -> None:
        """Write a verdict into the pod's conditions and, when it is news, as an event. One write at a time per pod."""
        before = self._telling.get(uid)
        task = self._tasks.create_task(self._write_verdict(uid, key, reason, message, before))
        self._telling[uid] = task
        task.add_done_callback(lambda done: self._telling.pop(uid) if self._telling.get(uid) is done else None)

    async def _write_verdict(
        self, uid: str, key: ObjectKey, reason: str, message: str, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await before
        pod = self._pods.get(key)
        if pod is None or pod.metadata.uid != uid or not is_ours(pod):
            return
        known = find(pod.status.conditions, SCHEDULED)
        if known is not None and (known.reason, known.message) == (reason, message):
            return
        verdict = PodCondition(type=SCHEDULED, status="False", reason=reason, message=message)
        conditions = set_conditions((known,) if known else (), verdict, now=self._clock.now())
        told = Pod(metadata=ObjectMeta(name=key.name, namespace=key.namespace), status=PodStatus(conditions=conditions))
        try:
            async with self._writes:
                await self._client.apply_status(told, manager=NAME)
        except (APIError, TransportError):
            return  # gone, or the server is: the next verdict tells
        if reason == UNSCHEDULABLE:
            self._events.tell(pod, "Warning", "FailedScheduling", message)


def _cure_of(outcome: Attempt) -> Change:
    """What may help those of a gang that still wait."""
    cure = Change.CLAIMS | Change.NODES if outcome.to_provide else Change(0)
    for _, verdict in outcome.refused:
        cure |= verdict.cure
    return cure


async def setup(manager: Manager) -> None:
    """Schedule pods on the manager's cluster, and define the groups that pods may be placed in. Raises APIError."""
    least = CustomResourceColumn(name="MinMember", type="integer", json_path=".spec.minMember")
    await manager.client.apply(definition_of(PodGroup, columns=(least, AGE), short_names=("pg",)), manager=NAME)
    manager.add(Scheduler(manager).run)
