"""PodDisruptionBudget: how many of its pods may be taken away on purpose now."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from ketch.kube.conditions import set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import NotFound
from ketch.kube.manager import For, Manager, Maps
from ketch.kube.meta import Condition, ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.selectors import Selector, from_label_selector
from ketch.kube.types.apps import Deployment, ReplicaSet, StatefulSet
from ketch.kube.types.pods import Pod
from ketch.kube.types.policy import PodDisruptionBudget, PodDisruptionBudgetStatus
from ketch.local.workloads.digests import resolve
from ketch.local.workloads.pods import is_active, is_deleting, is_ready

MANAGER = "disruption-controller"
ALLOWED = "DisruptionAllowed"
PATIENCE = timedelta(minutes=2)
"""After so long an evicted pod that is still there counts again."""


class Counts(NamedTuple):
    """Pods: that serve, that must, and that there should be."""

    current: int
    desired: int
    expected: int

    @property
    def allowed(self) -> int:
        """How many may go now."""
        return max(0, self.current - self.desired) if self.expected > 0 else 0


def selector_of(budget: PodDisruptionBudget) -> Selector | None:
    """Which pods it means; without a selector it means none, with an empty one all of the namespace."""
    return None if budget.spec.selector is None else from_label_selector(budget.spec.selector)


def count(budget: PodDisruptionBudget, pods: Sequence[Pod], sizes: int, disrupted: Mapping[str, datetime]) -> Counts:
    """Count the active pods; ``sizes`` is how many their owners want in all."""
    spec = budget.spec
    current = sum(is_ready(pod) and not is_deleting(pod) and pod.metadata.name not in disrupted for pod in pods)
    if spec.max_unavailable is not None:
        return Counts(current, max(0, sizes - resolve(spec.max_unavailable, sizes, up=True)), sizes)
    if isinstance(spec.min_available, str):
        return Counts(current, resolve(spec.min_available, sizes, up=True), sizes)
    return Counts(current, spec.min_available if spec.min_available is not None else 1, len(pods))


def still_disrupted(budget: PodDisruptionBudget, pods: Sequence[Pod], now: datetime) -> dict[str, datetime]:
    """Evicted pods that are not yet seen to go, nor have stayed for too long."""
    known = {pod.metadata.name: pod for pod in pods}
    return {
        name: since
        for name, since in budget.status.disrupted_pods.items()
        if name in known and not is_deleting(known[name]) and since + PATIENCE > now
    }


def next_status(
    budget: PodDisruptionBudget, counts: Counts, disrupted: Mapping[str, datetime], now: datetime
) -> PodDisruptionBudgetStatus:
    """What to report."""
    enough = counts.allowed > 0
    condition = Condition(
        type=ALLOWED,
        status="True" if enough else "False",
        reason="SufficientPods" if enough else "InsufficientPods",
        message=f"{counts.current} pods serve, {counts.desired} must",
    )
    generation = budget.metadata.generation
    return msgspec.structs.replace(
        budget.status,
        observed_generation=generation,
        disrupted_pods=disrupted,
        disruptions_allowed=counts.allowed,
        current_healthy=counts.current,
        desired_healthy=counts.desired,
        expected_pods=counts.expected,
        conditions=set_conditions(budget.status.conditions, condition, generation=generation, now=now),
    )


class BudgetReconciler:
    """Counts, and reports."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._budgets = manager.informer(PodDisruptionBudget)
        self._pods = manager.informer(Pod)
        self._deployments = manager.informer(Deployment)
        self._replica_sets = manager.informer(ReplicaSet)
        self._stateful_sets = manager.informer(StatefulSet)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        budget = self._budgets.get(key)
        if budget is None or budget.metadata.deletion_timestamp is not None:
            return Result()
        selector = selector_of(budget)
        found = [] if selector is None else self._pods.list(key.namespace, selector)
        pods, now = [pod for pod in found if is_active(pod) or is_deleting(pod)], self._clock.now()
        disrupted = still_disrupted(budget, pods, now)
        counts = count(budget, pods, self._sizes(pods), disrupted)
        status = next_status(budget, counts, disrupted, now)
        if status != budget.status:
            try:
                # Only over the version that was counted on: an eviction may have taken from it meanwhile. Then this is
                # done again a little later, when the informer has seen that.
                await self._client.update_status(msgspec.structs.replace(budget, status=status), manager=MANAGER)
            except NotFound:
                return Result()
        left = [(since + PATIENCE - now).total_seconds() for since in disrupted.values()]
        return Result(requeue_after=min(left) + 0.001 if left else None)

    def _sizes(self, pods: Sequence[Pod]) -> int:
        """How many pods the owners want; pods of an owner that says no number, and those without one, as they are."""
        wanted: dict[str, int] = {}
        others = 0
        for pod in pods:
            size = self._size_above(pod)
            if size is None:
                others += 1
            else:
                wanted[size[0]] = size[1]
        return others + sum(wanted.values())

    def _size_above(self, pod: Pod) -> tuple[str, int] | None:
        owner = controller_of(pod)
        if owner is None:
            return None
        key = ObjectKey(pod.metadata.namespace, owner.name)
        if owner.kind == "StatefulSet":
            found = self._stateful_sets.get(key)
            return (owner.uid, _wanted(found.spec.replicas)) if found else None
        replica_set = self._replica_sets.get(key) if owner.kind == "ReplicaSet" else None
        if replica_set is None:
            return None
        above = controller_of(replica_set)
        deployment = self._deployments.get(ObjectKey(key.namespace, above.name)) if above else None
        if above is not None and deployment is not None:
            return above.uid, _wanted(deployment.spec.replicas)
        return owner.uid, _wanted(replica_set.spec.replicas)


def _wanted(replicas: int | None) -> int:
    return 1 if replicas is None else replicas


def setup(manager: Manager) -> None:
    """Run the controller."""
    budgets = manager.informer(PodDisruptionBudget)

    def meaning(pod: Pod) -> list[ObjectKey]:
        found = budgets.list(pod.metadata.namespace)
        selectors = ((each.key, selector_of(each)) for each in found)
        return [key for key, selector in selectors if selector is not None and selector.matches(pod.metadata.labels)]

    def beside(owner: Deployment | ReplicaSet | StatefulSet) -> list[ObjectKey]:
        """Budgets of the namespace: what an owner wants may be what they are counted by."""
        return [each.key for each in budgets.list(owner.metadata.namespace)]

    manager.controller(
        "budgets",
        BudgetReconciler(manager),
        For(budgets),
        Maps(manager.informer(Pod), meaning),
        Maps(manager.informer(Deployment), beside),
        Maps(manager.informer(StatefulSet), beside),
        Maps(manager.informer(ReplicaSet), beside),
    )
