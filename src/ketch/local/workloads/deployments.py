"""Deployment: its pods come to have the present template, step by step, and never too few of them serve."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ketch.kube.conditions import find, set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, APIError, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import LabelSelector, ObjectKey, ObjectMeta
from ketch.kube.owners import controlled_by, controller_of
from ketch.kube.selectors import EVERYTHING, Selector, from_label_selector
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.apps import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetSpec
from ketch.kube.types.pods import Pod
from ketch.local.workloads import rollouts
from ketch.local.workloads.claiming import Claims, selecting
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.pods import is_terminal
from ketch.local.workloads.reporting import report
from ketch.local.workloads.rollouts import Limits, Sizes

MANAGER = "deployment-controller"
AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
NO_DEADLINE = 2**31 - 1
"""A progressDeadlineSeconds that means none."""


def selector_of(deployment: Deployment) -> Selector | None:
    """Which ReplicaSets and pods it means."""
    return from_label_selector(deployment.spec.selector)


def replica_set_for(deployment: Deployment, old: Sequence[ReplicaSet], bounds: Limits) -> ReplicaSet:
    """The ReplicaSet of the present template, as it begins: as many pods as the surge leaves room for."""
    spec = deployment.spec
    digest = rollouts.template_hash(spec.template, deployment.status.collision_count or 0)
    template = rollouts.with_label(spec.template, digest)
    room = bounds.most - sum(map(rollouts.size, old))
    replicas = bounds.replicas if spec.strategy.type == rollouts.RECREATE else max(0, min(room, bounds.replicas))
    selector = LabelSelector(
        match_labels={**spec.selector.match_labels, rollouts.HASH_LABEL: digest},
        match_expressions=spec.selector.match_expressions,
    )
    replica_set = ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.metadata.name}-{digest}",
            namespace=deployment.metadata.namespace,
            labels=template.metadata.labels,
            annotations=rollouts.annotations(deployment, rollouts.next_revision(None, old), bounds),
        ),
        spec=ReplicaSetSpec(
            replicas=replicas, min_ready_seconds=spec.min_ready_seconds, selector=selector, template=template
        ),
    )
    return controlled_by(deployment, replica_set)


def steps(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], bounds: Limits) -> Sizes:
    """The sizes that the ReplicaSets get next."""
    sets = [*old, *([new] if new else [])]
    recreate = deployment.spec.strategy.type == rollouts.RECREATE
    if deployment.spec.paused or rollouts.is_scaling(sets, bounds):
        return rollouts.proportional(new, sets, bounds, rolling=not recreate)
    if recreate:
        sizes = {each.metadata.name: 0 for each in old if rollouts.size(each)}
        if not sizes and new is not None and rollouts.size(new) != bounds.replicas:
            sizes = {new.metadata.name: bounds.replicas}
        return sizes
    up = rollouts.scale_up(new, sets, bounds) if new else {}
    return up or rollouts.scale_down(new, old, bounds)


def counts(deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet]) -> DeploymentStatus:
    """The numbers of the status, from what the ReplicaSets report."""
    total = sum(each.status.replicas or 0 for each in sets)
    available = sum(each.status.available_replicas for each in sets)
    wanted = max(rollouts.limits(deployment).replicas, sum(map(rollouts.size, sets)))
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=total,
        updated_replicas=(new.status.replicas or 0) if new else 0,
        ready_replicas=sum(each.status.ready_replicas for each in sets),
        available_replicas=available,
        unavailable_replicas=max(0, wanted - available),
        collision_count=deployment.status.collision_count,
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all pods are of the present template and serve, and no others are left."""
    wanted = rollouts.limits(deployment).replicas
    return status.updated_replicas == status.replicas == status.available_replicas == wanted


def _advanced(before: DeploymentStatus, status: DeploymentStatus) -> bool:
    old, new = before.replicas - before.updated_replicas, status.replicas - status.updated_replicas
    return (
        status.updated_replicas > before.updated_replicas
        or new < old
        or status.ready_replicas > before.ready_replicas
        or status.available_replicas > before.available_replicas
    )


def deadline_left(deployment: Deployment, condition: DeploymentCondition | None, now: datetime) -> float | None:
    """Seconds until a roll-out without progress is called failed; None when it is not watched."""
    seconds = deployment.spec.progress_deadline_seconds
    if seconds is None or seconds == NO_DEADLINE or condition is None or deployment.spec.paused:
        return None
    since = condition.last_update_time or condition.last_transition_time or now
    return (since + timedelta(seconds=seconds) - now).total_seconds()


def _condition(kind: str, status: str, reason: str, message: str) -> DeploymentCondition:
    return DeploymentCondition(type=kind, status=status, reason=reason, message=message)


def progressing(
    deployment: Deployment, new: ReplicaSet | None, status: DeploymentStatus, now: datetime
) -> DeploymentCondition | None:
    """The Progressing condition; None leaves it as it is."""
    before, name = find(deployment.status.conditions, PROGRESSING), deployment.metadata.name
    named = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{name}"'
    if deployment.spec.paused:
        if before is not None and before.reason == "DeploymentPaused":
            return None
        return _condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused")
    if before is not None and before.reason == "DeploymentPaused":
        return _condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed")
    if is_complete(deployment, status):
        if before is not None and before.reason == "NewReplicaSetAvailable" and named in before.message:
            return None
        return _condition(PROGRESSING, "True", "NewReplicaSetAvailable", f"{named} has successfully progressed.")
    finished = before is not None and before.reason == "NewReplicaSetAvailable"
    if before is None or _advanced(deployment.status, status) or (finished and _rolls(status)):
        return _condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{named} is progressing.")
    if finished:
        return None  # pods that fail after the roll-out do not undo it
    left = deadline_left(deployment, before, now)
    if left is not None and left <= 0 and before.reason != "ProgressDeadlineExceeded":
        message = f"{named} has timed out progressing."
        return _condition(PROGRESSING, "False", "ProgressDeadlineExceeded", message)
    return None


def _rolls(status: DeploymentStatus) -> bool:
    return status.updated_replicas != status.replicas or not status.replicas


def next_status(
    deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet], now: datetime
) -> DeploymentStatus:
    """What to report."""
    status = counts(deployment, new, sets)
    now = now.replace(microsecond=0)
    enough = status.available_replicas >= rollouts.limits(deployment).least_available
    fresh = [
        _condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else _condition(
            AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        )
    ]
    if (progress := progressing(deployment, new, status, now)) is not None:
        fresh.append(progress)
    failures = [failure for each in sets if (failure := find(each.status.conditions, FAILURE)) is not None]
    if failures:
        fresh.append(_condition(FAILURE, "True", failures[0].reason, failures[0].message))
    before = [each for each in deployment.status.conditions if each.type != FAILURE or failures]
    conditions = set_conditions(before, *(_updated(before, each, now) for each in fresh), now=now)
    return msgspec.structs.replace(status, conditions=conditions)


def _updated(before: Sequence[DeploymentCondition], fresh: DeploymentCondition, now: datetime) -> DeploymentCondition:
    """With the time of its last news: ReplicaSetUpdated is news each time, all else when it says something new."""
    old = find(before, fresh.type)
    same = old is not None and (old.status, old.reason, old.message) == (fresh.status, fresh.reason, fresh.message)
    if same and old is not None and fresh.reason != "ReplicaSetUpdated":
        return msgspec.structs.replace(fresh, last_update_time=old.last_update_time)
    return msgspec.structs.replace(fresh, last_update_time=now)


class DeploymentReconciler:
    """Makes, resizes and prunes ReplicaSets of Deployments."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._deployments = manager.informer(Deployment)
        self._sets = manager.informer(ReplicaSet)
        self._pods = manager.informer(Pod)
        self._claims = Claims(manager.client, self._sets, MANAGER)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        deployment = self._deployments.get(key)
        if deployment is None:
            return Result()
        sets = await self._claims.claimed(deployment, selector_of(deployment) or EVERYTHING, self._sets)
        new = rollouts.current(deployment, sets)
        old = [each for each in sets if each is not new]
        if deployment.metadata.deletion_timestamp is None:
            await self._advance(deployment, new, old)
        status = next_status(deployment, new, sets, self._clock.now())
        await report(self._client, deployment, status, MANAGER)
        if is_complete(deployment, status):
            await self._prune(deployment, old)
            return Result()
        progress = find(status.conditions, PROGRESSING)
        if progress is None or progress.reason in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
            return Result()
        left = deadline_left(deployment, progress, self._clock.now())
        return Result(requeue_after=None if left is None else max(left, 0.0) + 1.0)

    async def _advance(self, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> None:
        bounds = rollouts.limits(deployment)
        if new is None and not deployment.spec.paused:
            if self._must_wait(deployment, old):
                await self._resize(deployment, old, steps(deployment, None, old, bounds), bounds)
                return
            await self._begin(deployment, old, bounds)
            return  # its event brings the key back
        if new is not None:
            new = await self._mark(deployment, new, old, bounds)
        sets = [*old, *([new] if new else [])]
        await self._resize(deployment, sets, steps(deployment, new, old, bounds), bounds)

    def _must_wait(self, deployment: Deployment, old: Sequence[ReplicaSet]) -> bool:
        """Recreate: no new pod before the last old one has ended."""
        if deployment.spec.strategy.type != rollouts.RECREATE:
            return False
        pods = [pod for each in old for pod in self._pods.owned_by(each.metadata.uid)]
        return any(map(rollouts.size, old)) or any(not is_terminal(pod) for pod in pods)

    async def _begin(self, deployment: Deployment, old: Sequence[ReplicaSet], bounds: Limits) -> None:
        """Make the ReplicaSet of the present template; another object of its name counts as a collision."""
        made = replica_set_for(deployment, old, bounds)
        try:
            await self._client.create(made, manager=MANAGER)
        except AlreadyExists:
            taken = await self._client.get(ReplicaSet, made.metadata.name, made.metadata.namespace)
            owner = controller_of(taken)
            ours = owner is not None and owner.uid == deployment.metadata.uid
            if ours and rollouts.same_template(taken, deployment):
                return
            count = (deployment.status.collision_count or 0) + 1
            status = msgspec.structs.replace(deployment.status, collision_count=count)
            await report(self._client, deployment, status, MANAGER)
            return
        except APIError as error:
            if is_dying(error):
                return
            await self._events.record(deployment, "Warning", "ReplicaSetCreateError", str(error))
            raise
        if made.spec.replicas:
            text = f"Scaled up replica set {made.metadata.name} from 0 to {made.spec.replicas}"
            await self._events.record(deployment, "Normal", "ScalingReplicaSet", text)
        await self._number(deployment, rollouts.next_revision(None, old))

    async def _mark(
        self, deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet], bounds: Limits
    ) -> ReplicaSet:
        """Give the present template the newest revision, and its ReplicaSet the Deployment's annotations."""
        number = rollouts.next_revision(new, old)
        marks = {**rollouts.annotations(deployment, number, bounds)}
        for name in rollouts.scale_marks(bounds):
            marks.pop(name)  # those change with the size alone
        if past := rollouts.history(new, number):
            marks[rollouts.REVISION_HISTORY] = past
        await self._number(deployment, number)
        body = rollouts.merged_marks(new, marks)
        if new.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
            body["spec"] = {"minReadySeconds": deployment.spec.min_ready_seconds}
        return await self._patch(new, body) if body else new

    async def _number(self, deployment: Deployment, number: int) -> None:
        if rollouts.revision(deployment) != number:
            body = {"metadata": {"annotations": {rollouts.REVISION: str(number)}}}
            name, namespace = deployment.metadata.name, deployment.metadata.namespace
            await self._client.patch(Deployment, name, namespace, body, content_type=MERGE_PATCH, manager=MANAGER)

    async def _resize(self, deployment: Deployment, sets: Sequence[ReplicaSet], sizes: Sizes, bounds: Limits) -> None:
        for each in sets:
            wanted = sizes.get(each.metadata.name, rollouts.size(each))
            body: dict[str, Any] = rollouts.merged_marks(each, rollouts.scale_marks(bounds)) if wanted else {}
            if wanted != rollouts.size(each):
                body["spec"] = {"replicas": wanted}
            if not body:
                continue
            await self._patch(each, body)
            if "spec" in body:
                before = rollouts.size(each)
                way = "up" if wanted > before else "down"
                text = f"Scaled {way} replica set {each.metadata.name} from {before} to {wanted}"
                await self._events.record(deployment, "Normal", "ScalingReplicaSet", text)

    async def _patch(self, replica_set: ReplicaSet, body: dict[str, Any]) -> ReplicaSet:
        """Change a ReplicaSet; Conflict when the cache is not the newest, and then the key comes again."""
        meta = replica_set.metadata
        body = {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": meta.resource_version}}
        return await self._client.patch(
            ReplicaSet, meta.name, meta.namespace, body, content_type=MERGE_PATCH, manager=MANAGER
        )

    async def _prune(self, deployment: Deployment, old: Sequence[ReplicaSet]) -> None:
        for each in rollouts.outlived(old, deployment.spec.revision_history_limit):
            try:
                await self._client.delete(ReplicaSet, each.metadata.name, each.metadata.namespace)
            except NotFound:
                continue


def setup(manager: Manager) -> None:
    """Run the controller."""
    deployments, sets, pods = manager.informer(Deployment), manager.informer(ReplicaSet), manager.informer(Pod)

    def wanting(replica_set: ReplicaSet) -> list[ObjectKey]:
        return [each.key for each in selecting(deployments, replica_set, selector_of)]

    def of_pod(pod: Pod) -> list[ObjectKey]:
        """Recreate waits for the last old pod to end."""
        owner = controller_of(pod)
        if owner is None or owner.kind != "ReplicaSet":
            return []
        replica_set = sets.get(ObjectKey(pod.metadata.namespace, owner.name))
        above = controller_of(replica_set) if replica_set else None
        if above is None:
            return []
        deployment = deployments.get(ObjectKey(pod.metadata.namespace, above.name))
        return [deployment.key] if deployment and deployment.spec.strategy.type == rollouts.RECREATE else []

    manager.controller(
        "deployments",
        DeploymentReconciler(manager),
        For(deployments),
        Owns(sets, Deployment),
        Maps(sets, wanting),
        Maps(pods, of_pod),
    )
