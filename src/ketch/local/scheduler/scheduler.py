"""Scheduler: every pod that names no node gets the best one that can run it, or learns why none can."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ketch.kube.definitions import AGE, definition_of
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.events import EventRecorder, PacedEvents
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.placement import Placement
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.apiextensions import CustomResourceColumn
from ketch.kube.types.core import Namespace, Node, PersistentVolume, PersistentVolumeClaim
from ketch.kube.types.podgroups import PodGroup
from ketch.kube.types.pods import Pod
from ketch.kube.types.policy import PodDisruptionBudget
from ketch.kube.types.storage import StorageClass
from ketch.local.scheduler.arrivals import Arrivals
from ketch.local.scheduler.claims import SELECTED_NODE, Found, look, untold
from ketch.local.scheduler.decisions import Unplaced, decide
from ketch.local.scheduler.filters import Change
from ketch.local.scheduler.gangs import Attempt, Gang, Gangs, attempt, group_of
from ketch.local.scheduler.needs import claims_of, needs_of
from ketch.local.scheduler.occupants import occupant
from ketch.local.scheduler.queue import Popped, Queue, Waiting
from ketch.local.scheduler.reading import NAME, facts_of, holds_room, is_ours, newcomer
from ketch.local.scheduler.rooms import Rooms
from ketch.local.scheduler.state import NodeState, State
from ketch.local.scheduler.turns import Turns
from ketch.local.scheduler.verdicts import GATED, RETRY_SECONDS, UNSCHEDULABLE, Verdicts

GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"
WRITES = 32
"""Bindings and verdicts that are written at once."""
BY_CLAIM = "scheduler.claims"
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
        self._budgets = manager.informer(PodDisruptionBudget)
        self._state = State()
        self._queue = Queue()
        self._gangs = Gangs()
        self._turns = Turns()
        self._work = asyncio.Event()
        self._writes = asyncio.Semaphore(WRITES)
        self._binding: set[str] = set()
        self._arrivals = Arrivals()
        self._began = False
        self._tasks = asyncio.TaskGroup()
        self._verdicts = Verdicts(manager, self._events, self._writes, self._tasks)
        self._rooms = Rooms(self._state, self._gangs, self._verdicts, self._budgets)
        self._gated: dict[str, Pod] = {}
        self._pods.add_index(BY_CLAIM, claims_of)
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
        await self._budgets.wait_synced()
        self._began = True
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
            self._verdicts.tell(pod.metadata.uid, pod.key, GATED, GATED_MESSAGE)
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
            self._has_node(new)
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

    def _has_node(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        self._queue.remove(uid)
        self._seat(pod)
        self._rooms.occupants.put(occupant(pod, group_of(pod), BEGINNING))
        if (moment := self._arrivals.come(uid)) is not None:
            self._tell_placed(pod, pod.spec.node_name, moment)
        if self._rooms.nominations.drop(uid):
            self._wake(Change.ROOM)
        if self._state.node_of(uid) != pod.spec.node_name:
            self._state.place(uid, needs_of(pod), pod.spec.node_name)
            self._wake(Change.PODS)

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
            self._enqueue(self._gangs.set_group(changed.key, new))

    def _forget(self, uid: str) -> None:
        self._queue.remove(uid)
        if (gang := self._gangs.leave(uid)) is not None and not gang.waiting:
            self._queue.remove(gang.uid)
            self._end_turn(gang)
        self._gated.pop(uid, None)
        self._arrivals.come(uid)
        self._rooms.occupants.drop(uid)
        if self._state.displace(uid) | self._rooms.nominations.drop(uid):
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

    def is_mounted(self, key: ObjectKey) -> bool:
        """Whether a pod with a node mounts the claim."""
        users = self._pods.by_index(BY_CLAIM, str(key))
        return any(self._state.node_of(pod.metadata.uid) for pod in users)

    def _decide(self, popped: Popped) -> None:
        """Place, refuse, or let the pod wait for its volumes. Nothing here awaits: no news can come in between."""
        pod = popped.pod
        if popped.refused is not None:
            self._verdicts.tell(pod.uid, pod.key, UNSCHEDULABLE, popped.refused)
            return
        if why := self._turns.holds_back(pod.order, pod.needs):
            self._refuse(pod, Unplaced(why, Change.TURN, shared=False))
            return
        with self._rooms.nominations.lifted((pod.uid,), pod.needs.priority):
            decision, found = self._find(pod, self._state)
            if isinstance(decision, Unplaced):
                decision = self._rooms.make(pod, found.volumes, decision)
        if isinstance(decision, Unplaced):
            self._refuse(pod, decision)
        elif found.to_provide:
            self._queue.park(pod, "", Change.CLAIMS | Change.NODES)
            self._provide(found, decision.name)
        else:
            self._rooms.nominations.drop(pod.uid)
            self._state.place(pod.uid, pod.needs, decision.name)
            self._queue.placed(pod)
            self._begin_binding(pod, decision.name)

    def place(self, pod: Mapping[str, Any]) -> str:
        """The node of a pod that is being created, if nothing waits before it and it has nothing to wait for."""
        if not self._began or self._queue.is_active:
            return ""
        now = self._clock.now()
        for late in self._arrivals.late(now):
            self._forget(late)
        new = newcomer(pod)
        if not is_ours(new) or new.spec.scheduling_gates or group_of(new) is not None:
            return ""
        needs, uid = needs_of(new), new.metadata.uid
        waiting = Waiting(uid, new.key, needs, self._queue.order(needs.priority, now))
        if needs.claims or self._turns.holds_back(waiting.order, needs):
            return ""
        with self._rooms.nominations.lifted((uid,), needs.priority):
            decision, _ = self._find(waiting, self._state)
        if isinstance(decision, Unplaced):
            return ""
        self._state.place(uid, needs, decision.name)
        self._arrivals.expect(uid, now)
        self._wake(Change.PODS)
        return decision.name

    def withdraw(self, uid: str) -> None:
        """A pod that was placed while it was created was not created after all."""
        if uid in self._arrivals:
            self._forget(uid)

    def _find(self, pod: Waiting, state: State) -> tuple[NodeState | Unplaced, Found]:
        """A node for the pod, or the verdict; and what its claims mean."""
        found = look(pod.needs, self) if pod.needs.claims else Found()
        if found.problem:
            count = sum(1 for _ in state.nodes())
            message = f"0/{count} nodes are available: {found.problem}."
            cure = Change.CLAIMS | Change.ROOM if found.in_use else Change.CLAIMS
            return Unplaced(message, cure, shared=True), found
        decision = decide(pod.needs, state, found.volumes)
        if isinstance(decision, Unplaced) and pod.needs.claims:
            decision = decision._replace(cure=decision.cure | Change.CLAIMS)
        return decision, found

    def _decide_gang(self, gang: Gang, entry: Waiting) -> None:
        """The same for all of a gang that wait. Nothing here awaits either."""
        if problem := gang.incomplete():
            self._end_turn(gang)
            self._refuse_gang(gang, entry, problem, Change(0))
        elif why := self._turns.holds_back(entry.order, None):
            self._refuse_gang(gang, entry, why, Change.TURN)
        elif problem := gang.lacking(self._state):
            self._refuse_gang(gang, entry, problem, Change.ROOM | Change.NODES)
            self._has_no_room(gang, problem)
        else:
            self._place_gang(gang, entry)

    def _place_gang(self, gang: Gang, entry: Waiting) -> None:
        with self._rooms.nominations.lifted(gang.waiting.keys(), gang.priority):
            outcome = attempt(gang, self._state, lambda pod: self._find(pod, self._state))
            is_refused = not outcome.seats and not outcome.to_provide
            if is_refused:
                outcome = self._rooms.make_for(gang, outcome, lambda pod: look(pod.needs, self).volumes)
        for seat in outcome.to_provide:
            self._provide(seat.found, seat.node)
        for seat in outcome.seats:
            self._rooms.nominations.drop(seat.pod.uid)
            self._gangs.seat(gang.key, seat.pod.uid)
            self._begin_binding(seat.pod, seat.node)
        for pod, verdict in outcome.refused:
            node = self._rooms.nominations.node_of(pod.uid)
            self._verdicts.tell(pod.uid, pod.key, UNSCHEDULABLE, verdict.message, node)
        if is_refused and gang.missing:
            self._has_no_room(gang, outcome.refused[0][1].message)
        elif outcome.seats:
            self._tell_group(gang, "Normal", "Scheduled", f"{len(outcome.seats)} pods have a node")
            self._end_turn(gang)
        if gang.waiting:
            self._queue.park(entry, "", _cure_of(outcome), shared=False)
        else:
            self._queue.placed(entry)

    def _refuse_gang(self, gang: Gang, entry: Waiting, message: str, cure: Change) -> None:
        self._queue.park(entry, message, cure, shared=False)
        for pod in gang.waiting.values():
            self._verdicts.tell(pod.uid, pod.key, UNSCHEDULABLE, message)

    def _has_no_room(self, gang: Gang, message: str) -> None:
        """Tell the PodGroup; when it has waited for long, others wait for it."""
        self._tell_group(gang, "Warning", "Unschedulable", message)
        now = self._clock.now()
        until = self._turns.refused(gang, now, lambda: self._would_fit(gang))
        if until is not None:
            seconds = (until - now).total_seconds()
            text = f"It has waited for long: what comes after it waits until it has room, for {seconds:.0f} s at most"
            self._tell_group(gang, "Normal", "PlacedNext", text)
            self._tasks.create_task(self._lift_hold(seconds))

    def _would_fit(self, gang: Gang) -> bool:
        """Whether the nodes would have room for the gang if they were empty."""
        empty = self._state.emptied()
        outcome = attempt(gang, empty, lambda pod: self._find(pod, empty))
        return bool(outcome.seats or outcome.to_provide)

    async def _lift_hold(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if (gang := self._turns.expires(self._clock.now())) is not None:
            text = f"There is still too little room for it after {seconds:.0f} s: others go on"
            self._tell_group(gang, "Warning", "ScheduleTimeout", text)
            self._wake(Change.TURN)

    def _end_turn(self, gang: Gang) -> None:
        if self._turns.ends(gang):
            self._wake(Change.TURN)

    def _tell_group(self, gang: Gang, kind: str, reason: str, message: str) -> None:
        group = self._groups.get(gang.key)
        if group is not None and gang.told != message:
            gang.told = message
            self._events.tell(group, kind, reason, message)

    def _provide(self, found: Found, node: str) -> None:
        if untold(found.to_provide, [each.name for each in self._state.nodes()]):
            self._tasks.create_task(self._select(found, node))

    def _begin_binding(self, pod: Waiting, node: str) -> None:
        self._binding.add(pod.uid)
        self._queue.wake(Change.PODS)
        self._tasks.create_task(self._bind(pod, node))

    def _refuse(self, pod: Waiting, verdict: Unplaced) -> None:
        for each in self._queue.park(pod, verdict.message, verdict.cure, shared=verdict.shared):
            node = self._rooms.nominations.node_of(each.uid)
            self._verdicts.tell(each.uid, each.key, UNSCHEDULABLE, verdict.message, node)

    # writing ----------------------------------------------------------------------------------------------------

    async def _bind(self, pod: Waiting, node: str) -> None:
        await self._verdicts.told(pod.uid)
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
                self._tell_placed(bound, node, moment)

    def _tell_placed(self, pod: Pod, node: str, moment: datetime) -> None:
        # The node may be quicker to tell of the pod: this came first.
        self._events.tell(pod, "Normal", "Scheduled", f"Successfully assigned {pod.key} to {node}", moment)

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


def _cure_of(outcome: Attempt) -> Change:
    """What may help those of a gang that still wait."""
    cure = Change.CLAIMS | Change.NODES if outcome.to_provide else Change(0)
    for _, verdict in outcome.refused:
        cure |= verdict.cure
    return cure


async def setup(manager: Manager) -> Placement:
    """Schedule pods on the manager's cluster, and define the groups that pods may be placed in. Raises APIError.

    An API server in the same process may ask what is returned for the nodes of new pods.
    """
    columns = [
        CustomResourceColumn(name=title, type=kind, json_path=path)
        for title, kind, path in (
            ("Phase", "string", ".status.phase"),
            ("MinMember", "integer", ".spec.minMember"),
            ("Running", "integer", ".status.running"),
            ("Succeeded", "integer", ".status.succeeded"),
            ("Failed", "integer", ".status.failed"),
        )
    ]
    await manager.client.apply(definition_of(PodGroup, columns=(*columns, AGE), short_names=("pg",)), manager=NAME)
    scheduler = Scheduler(manager)
    manager.add(scheduler.run)
    return scheduler
