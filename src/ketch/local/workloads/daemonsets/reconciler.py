"""DaemonSet: the same pod on every node that it may run on, replaced node by node when its template changes."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ketch.kube.client import DeleteOptions
from ketch.kube.controller import Result
from ketch.kube.errors import APIError, Conflict, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.expectations import Expectations
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import ObjectKey
from ketch.kube.selectors import EVERYTHING, Selector, from_label_selector
from ketch.kube.types.apps import DaemonSet, DaemonSetStatus
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Pod
from ketch.local.workloads.batches import slow_start, together
from ketch.local.workloads.claiming import Claims, selecting
from ketch.local.workloads.daemonsets.placement import pod_for
from ketch.local.workloads.daemonsets.steps import Station, Step, counts, next_look, next_step, stations, stranded
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.pods import is_deleting
from ketch.local.workloads.reporting import report
from ketch.local.workloads.revisions import HASH_LABEL, REVISION_LABEL, Histories

MANAGER = "daemonset-controller"
BURST = 250
"""The most pods that one pass creates."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 900.0
"""Seconds until a failed pod is replaced; it doubles with each failure on the same node."""


def selector_of(owner: DaemonSet) -> Selector | None:
    """Which pods it means."""
    return from_label_selector(owner.spec.selector)


def next_status(owner: DaemonSet, found: Sequence[Station], revision: str, now: datetime) -> DaemonSetStatus:
    """What to report."""
    told = counts(owner, found, revision, now)
    return msgspec.structs.replace(
        owner.status,
        observed_generation=owner.metadata.generation,
        desired_number_scheduled=told["desired"],
        current_number_scheduled=told["current"],
        number_misscheduled=told["misscheduled"],
        number_ready=told["ready"],
        updated_number_scheduled=told["updated"],
        number_available=told["available"],
        number_unavailable=told["desired"] - told["available"],
    )


class DaemonSetReconciler:
    """Creates and deletes pods of DaemonSets."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._sets = manager.informer(DaemonSet)
        self._nodes = manager.informer(Node)
        self._pods = manager.informer(Pod)
        self._claims = Claims(manager.client, self._pods, MANAGER)
        self._histories = Histories(manager, MANAGER)
        self._expected = Expectations(self._pods, manager.clock)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        owner = self._sets.get(key)
        if owner is None or owner.metadata.deletion_timestamp is not None:
            return Result()
        if not self._expected.met(owner.metadata.uid):
            return Result()
        selector = selector_of(owner) or EVERYTHING
        pods = await self._claims.claimed(owner, selector, self._pods)
        history = await self._histories.of(owner, selector)
        if history is None:
            return Result()
        revision, now = history.newest.metadata.labels.get(HASH_LABEL, ""), self._clock.now()
        nodes = self._nodes.list()
        found = stations(owner, nodes, pods)
        step = next_step(owner, found, revision, now)
        await together(self._delete(owner, pod) for pod in stranded(nodes, pods))
        wait = await self._act(owner, step, revision)
        await report(self._client, owner, next_status(owner, found, revision, now), MANAGER)
        used = {pod.metadata.labels.get(REVISION_LABEL) for pod in pods}
        live = {each.metadata.name for each in history.revisions if each.metadata.labels.get(HASH_LABEL) in used}
        await self._histories.prune(history, live, owner.spec.revision_history_limit)
        waits = [each for each in (wait, next_look(owner, pods, now)) if each is not None]
        return Result(requeue_after=min(waits, default=None))

    async def _act(self, owner: DaemonSet, step: Step, revision: str) -> float | None:
        """Carry the step out; seconds until a failed pod may be replaced."""

        async def create(place: int) -> None:
            pod = pod_for(owner, step.create[place], revision)
            try:
                made = await self._client.create(pod, manager=MANAGER)
            except APIError as error:
                if not is_dying(error):
                    await self._events.record(owner, "Warning", "FailedCreate", f"Error creating: {error}")
                raise
            self._expected.created(owner.metadata.uid, made)
            await self._events.record(owner, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")

        try:
            await slow_start(min(len(step.create), BURST), create)
        except APIError as error:
            if is_dying(error):
                return None
            raise
        await together(self._delete(owner, pod) for pod in step.delete if not is_deleting(pod))
        waits = [wait for pod in step.failed if (wait := await self._replace(owner, pod)) is not None]
        return min(waits, default=None)

    async def _replace(self, owner: DaemonSet, pod: Pod) -> float | None:
        """Delete a failed pod, later and later when its node fails it again and again; seconds still to wait."""
        place, now = (owner.metadata.uid, pod.spec.node_name), self._clock.monotonic()
        times, until = self._failures.get(place, (0, now))
        if now < until:
            return until - now
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**times)
        self._failures[place] = (times + 1, now + delay)
        text = f"Found failed daemon pod {pod.key} on node {pod.spec.node_name}, will try to kill it"
        await self._events.record(owner, "Warning", "FailedDaemonPod", text)
        await self._delete(owner, pod)
        return None

    def forget(self, uid: str) -> None:
        """The DaemonSet is gone: nobody waits for its nodes any more."""
        for place in [place for place in self._failures if place[0] == uid]:
            del self._failures[place]

    async def _delete(self, owner: DaemonSet, pod: Pod) -> None:
        try:
            await self._client.delete(
                Pod, pod.metadata.name, pod.metadata.namespace, DeleteOptions(uid=pod.metadata.uid)
            )
        except (NotFound, Conflict):
            return
        self._expected.deleted(owner.metadata.uid, pod)
        await self._events.record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")


def setup(manager: Manager) -> None:
    """Run the controller."""
    sets, pods, nodes = manager.informer(DaemonSet), manager.informer(Pod), manager.informer(Node)
    reconciler = DaemonSetReconciler(manager)

    def wanting(pod: Pod) -> list[ObjectKey]:
        return [each.key for each in selecting(sets, pod, selector_of)]

    controller = manager.controller("daemonsets", reconciler, For(sets), Owns(pods, DaemonSet), Maps(pods, wanting))

    def node_changed(old: Node | None, new: Node | None) -> None:
        """Signs of life are no news: only what decides about the pods is."""
        if old is not None and new is not None:
            same = old.metadata.labels == new.metadata.labels and old.spec == new.spec
            if same:
                return
        for each in sets.list():
            controller.enqueue(each.key)

    def set_changed(old: DaemonSet | None, new: DaemonSet | None) -> None:
        if old is not None and new is None:
            reconciler.forget(old.metadata.uid)

    nodes.add_handler(node_changed)
    sets.add_handler(set_changed)
