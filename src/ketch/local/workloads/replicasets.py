"""ReplicaSet: so many active pods of its template exist, no more and no fewer."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from ketch.kube.conditions import set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import APIError, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.expectations import Expectations
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import Condition, ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.selectors import EVERYTHING, Selector, from_label_selector
from ketch.kube.types.apps import ReplicaSet, ReplicaSetStatus
from ketch.kube.types.pods import Pod
from ketch.local.workloads.batches import slow_start, together
from ketch.local.workloads.claiming import Claims, selecting
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.pods import available_in, from_template, is_active, is_deleting, is_ready, to_delete
from ketch.local.workloads.reporting import report

MANAGER = "replicaset-controller"
FAILURE = "ReplicaFailure"
BURST = 500
"""The most pods that one pass creates or deletes."""


def selector_of(replica_set: ReplicaSet) -> Selector | None:
    """Which pods it means."""
    return from_label_selector(replica_set.spec.selector)


def surplus(replica_set: ReplicaSet, pods: Iterable[Pod]) -> int:
    """How many active pods there are too many (above zero) or too few (below)."""
    wanted = 1 if replica_set.spec.replicas is None else replica_set.spec.replicas
    return sum(map(is_active, pods)) - wanted


def next_status(
    replica_set: ReplicaSet, pods: Sequence[Pod], failure: tuple[str, str] | None, now: datetime
) -> ReplicaSetStatus:
    """What to report, from the pods seen; ``failure`` is the reason and message of what could not be done."""
    active = [pod for pod in pods if is_active(pod)]
    template = replica_set.spec.template.metadata.labels
    delays = [available_in(pod, replica_set.spec.min_ready_seconds, now) for pod in active]
    others = tuple(each for each in replica_set.status.conditions if each.type != FAILURE)
    conditions = others
    if failure is not None:
        reason, message = failure
        conditions = set_conditions(
            replica_set.status.conditions,
            Condition(type=FAILURE, status="True", reason=reason, message=message),
            now=now,
        )
    return ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=sum(template.items() <= pod.metadata.labels.items() for pod in active),
        ready_replicas=sum(map(is_ready, active)),
        available_replicas=sum(delay == 0 for delay in delays),
        observed_generation=replica_set.metadata.generation,
        conditions=conditions,
    )


def next_look(replica_set: ReplicaSet, pods: Iterable[Pod], now: datetime) -> float | None:
    """Seconds until a ready pod becomes available without any event."""
    delays = [available_in(pod, replica_set.spec.min_ready_seconds, now) for pod in pods if is_active(pod)]
    return min((delay for delay in delays if delay), default=None)


class ReplicaSetReconciler:
    """Creates and deletes pods of ReplicaSets."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._sets = manager.informer(ReplicaSet)
        self._pods = manager.informer(Pod)
        self._claims = Claims(manager.client, self._pods, MANAGER)
        self._expected = Expectations(self._pods, manager.clock)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        replica_set = self._sets.get(key)
        if replica_set is None or not self._expected.met(replica_set.metadata.uid):
            return Result()
        pods = await self._claims.claimed(replica_set, selector_of(replica_set) or EVERYTHING, self._pods)
        failure: tuple[str, str] | None = None
        error: APIError | None = None
        if replica_set.metadata.deletion_timestamp is None:
            count = surplus(replica_set, pods)
            try:
                await self._adjust(replica_set, pods, count)
            except APIError as raised:
                if is_dying(raised):
                    return Result()
                failure, error = ("FailedCreate" if count < 0 else "FailedDelete", str(raised)), raised
        await self._report(replica_set, pods, failure)
        if error is not None:
            await self._events.record(replica_set, "Warning", (failure or ("Failed", ""))[0], f"Error: {error}")
            raise error
        wait = next_look(replica_set, pods, self._clock.now())
        return Result(requeue_after=wait)

    async def _adjust(self, replica_set: ReplicaSet, pods: Sequence[Pod], count: int) -> None:
        uid = replica_set.metadata.uid
        if count < 0:

            async def create(_: int) -> None:
                made = await self._client.create(from_template(replica_set, replica_set.spec.template), manager=MANAGER)
                self._expected.created(uid, made)
                await self._events.record(
                    replica_set, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}"
                )

            await slow_start(min(-count, BURST), create)
        elif count > 0:
            kin = self._kin(replica_set)
            doomed = to_delete([pod for pod in pods if is_active(pod)], min(count, BURST), kin)
            await together(self._delete(replica_set, pod) for pod in doomed)

    async def _delete(self, replica_set: ReplicaSet, pod: Pod) -> None:
        try:
            await self._client.delete(Pod, pod.metadata.name, pod.metadata.namespace)
        except NotFound:
            return
        self._expected.deleted(replica_set.metadata.uid, pod)
        await self._events.record(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

    def _kin(self, replica_set: ReplicaSet) -> list[Pod]:
        """Pods of the other ReplicaSets of the same Deployment."""
        owner = controller_of(replica_set)
        if owner is None:
            return []
        kin = [each for each in self._sets.owned_by(owner.uid) if each.metadata.uid != replica_set.metadata.uid]
        return [pod for each in kin for pod in self._pods.owned_by(each.metadata.uid)]

    async def _report(self, replica_set: ReplicaSet, pods: Sequence[Pod], failure: tuple[str, str] | None) -> None:
        status = next_status(replica_set, [pod for pod in pods if not is_deleting(pod)], failure, self._clock.now())
        await report(self._client, replica_set, status, MANAGER)


def setup(manager: Manager) -> None:
    """Run the controller."""
    sets, pods = manager.informer(ReplicaSet), manager.informer(Pod)

    def wanting(pod: Pod) -> list[ObjectKey]:
        return [each.key for each in selecting(sets, pod, selector_of)]

    manager.controller(
        "replicasets", ReplicaSetReconciler(manager), For(sets), Owns(pods, ReplicaSet), Maps(pods, wanting)
    )
