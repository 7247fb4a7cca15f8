"""StatefulSet: numbered pods with names and claims that stay, made and replaced in order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from ketch.kube.client import DeleteOptions
from ketch.kube.codec import encode
from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, APIError, Conflict, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.expectations import Expectations
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import ObjectKey
from ketch.kube.selectors import EVERYTHING, Selector, from_label_selector
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.apps import StatefulSet, StatefulSetStatus
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.local.workloads.batches import slow_start, together
from ketch.local.workloads.claiming import Claims, selecting
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.pods import RUNNING, available_in, is_deleting, is_ready
from ketch.local.workloads.reporting import report
from ketch.local.workloads.revisions import (
    REVISION_LABEL,
    Histories,
    History,
    template_of,
)
from ketch.local.workloads.statefulsets.identities import claims_for, lost_labels, ordinal_of, pod_for
from ketch.local.workloads.statefulsets.retention import claim_names, references
from ketch.local.workloads.statefulsets.steps import (
    ROLLING,
    Members,
    Revisions,
    Step,
    members,
    next_look,
    next_step,
    revision_for,
)

MANAGER = "statefulset-controller"


def selector_of(owner: StatefulSet) -> Selector | None:
    """Which pods it means."""
    return from_label_selector(owner.spec.selector)


def next_status(owner: StatefulSet, pods: Sequence[Pod], names: Revisions, now: datetime) -> StatefulSetStatus:
    """What to report, from the pods seen. A roll-out that is done makes the new template the present one."""
    staying = [pod.metadata.labels.get(REVISION_LABEL) for pod in pods if not is_deleting(pod)]
    ready = [pod for pod in pods if pod.status.phase == RUNNING and is_ready(pod)]
    available = sum(available_in(pod, owner.spec.min_ready_seconds, now) == 0 for pod in ready)
    current, updated = staying.count(names.current), staying.count(names.update)
    wanted = 1 if owner.spec.replicas is None else owner.spec.replicas
    present = names.current
    if owner.spec.update_strategy.type == ROLLING and updated == len(ready) == len(pods) == wanted:
        present, current = names.update, updated
    return msgspec.structs.replace(
        owner.status,
        observed_generation=owner.metadata.generation,
        replicas=len(pods),
        ready_replicas=len(ready),
        available_replicas=available,
        current_replicas=current,
        updated_replicas=updated,
        current_revision=present,
        update_revision=names.update,
        collision_count=owner.status.collision_count or 0,
    )


class StatefulSetReconciler:
    """Creates, deletes and replaces pods of StatefulSets."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._sets = manager.informer(StatefulSet)
        self._pods = manager.informer(Pod)
        self._volumes = manager.informer(PersistentVolumeClaim)
        self._claims = Claims(manager.client, self._pods, MANAGER)
        self._histories = Histories(manager, MANAGER)
        self._expected = Expectations(self._pods, manager.clock)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        owner = self._sets.get(key)
        if owner is None or not self._expected.met(owner.metadata.uid):
            return Result()
        if owner.metadata.deletion_timestamp is not None:
            return Result()  # pods and claims have their owners: the garbage collector ends them
        selector = selector_of(owner) or EVERYTHING
        pods = await self._claims.claimed(owner, selector, self._pods)
        pods = [pod for pod in pods if ordinal_of(owner, pod) is not None]
        history = await self._histories.of(owner, selector)
        if history is None:
            return Result()
        current = history.named(owner.status.current_revision) or history.newest
        names = Revisions(current.metadata.name, history.newest.metadata.name)
        await self._advance(owner, members(owner, pods), names, history)
        await report(self._client, owner, next_status(owner, pods, names, self._clock.now()), MANAGER)
        live = {names.current, *(pod.metadata.labels.get(REVISION_LABEL, "") for pod in pods)}
        await self._histories.prune(history, live, owner.spec.revision_history_limit)
        return Result(requeue_after=next_look(owner, pods, self._clock.now()))

    async def _advance(self, owner: StatefulSet, found: Members, names: Revisions, history: History) -> None:
        """Mend what the pods should have, then take the next step."""
        await together(self._mend(owner, number, pod) for number, pod in (found.kept | found.condemned).items())
        step = next_step(owner, found, names, self._clock.now())
        try:
            await self._create(owner, step, names, history)
        except APIError as error:
            if is_dying(error):
                return
            raise
        await together(self._delete(owner, pod) for pod in step.delete)

    async def _create(self, owner: StatefulSet, step: Step, names: Revisions, history: History) -> None:
        templates = {each.metadata.name: each for each in history.revisions}

        async def create(place: int) -> None:
            number = step.create[place]
            revision = revision_for(owner, number, names)
            pod = pod_for(owner, number, template_of(templates[revision]), revision)
            try:
                await self._complete(owner, number, pod.metadata.name)
                made = await self._client.create(pod, manager=MANAGER)
            except AlreadyExists:
                await self._blocked(owner, pod)
                return
            except APIError as error:
                if not is_dying(error):
                    text = f"create Pod {pod.metadata.name} in StatefulSet {owner.metadata.name} failed error: {error}"
                    await self._events.record(owner, "Warning", "FailedCreate", text)
                raise
            self._expected.created(owner.metadata.uid, made)
            text = f"create Pod {made.metadata.name} in StatefulSet {owner.metadata.name} successful"
            await self._events.record(owner, "Normal", "SuccessfulCreate", text)

        await slow_start(len(step.create), create)

    async def _blocked(self, owner: StatefulSet, pod: Pod) -> None:
        """The pod's name is taken: by a pod that the cache does not show yet, or by somebody else's."""
        held = self._pods.get(pod.key)
        if held is not None and not any(each.uid == owner.metadata.uid for each in held.metadata.owner_references):
            text = f"create Pod {pod.metadata.name} in StatefulSet {owner.metadata.name} failed error: "
            text += "a pod of that name exists that is not of this set: delete or rename it"
            await self._events.record(owner, "Warning", "FailedCreate", text)

    async def _complete(self, owner: StatefulSet, number: int, pod: str) -> None:
        """Make the claims of a number that are missing. Raises Conflict while an old one is still going."""
        for claim in claims_for(owner, number):
            held = self._volumes.get(claim.key)
            if held is not None and held.metadata.deletion_timestamp is not None:
                raise Conflict(f'persistentvolumeclaim "{held.metadata.name}" is being deleted')
            if held is not None:
                continue
            try:
                await self._client.create(claim, manager=MANAGER)
            except AlreadyExists:
                continue
            text = f"create Claim {claim.metadata.name} Pod {pod} in StatefulSet {owner.metadata.name} success"
            await self._events.record(owner, "Normal", "SuccessfulCreate", text)

    async def _mend(self, owner: StatefulSet, number: int, pod: Pod) -> None:
        """A pod keeps the labels of its number, and its claims their owners."""
        namespace = owner.metadata.namespace
        for name in claim_names(owner, pod):
            claim = self._volumes.get(ObjectKey(namespace, name))
            wanted = references(owner, pod, number, claim) if claim else None
            if claim is None or wanted is None:
                continue
            version = claim.metadata.resource_version
            body = {"metadata": {"ownerReferences": [encode(each) for each in wanted], "resourceVersion": version}}
            await self._patch(PersistentVolumeClaim, name, namespace, body)
        if (lost := lost_labels(pod, number)) and not is_deleting(pod):
            await self._patch(Pod, pod.metadata.name, namespace, {"metadata": {"labels": lost}})

    async def _patch(
        self, kind: type[Pod] | type[PersistentVolumeClaim], name: str, namespace: str, body: dict[str, Any]
    ) -> None:
        try:
            await self._client.patch(kind, name, namespace, body, content_type=MERGE_PATCH, manager=MANAGER)
        except NotFound:
            return

    async def _delete(self, owner: StatefulSet, pod: Pod) -> None:
        """End this pod, and no later one of its name."""
        options = DeleteOptions(uid=pod.metadata.uid)
        try:
            await self._client.delete(Pod, pod.metadata.name, pod.metadata.namespace, options)
        except (NotFound, Conflict):
            return
        self._expected.deleted(owner.metadata.uid, pod)
        text = f"delete Pod {pod.metadata.name} in StatefulSet {owner.metadata.name} successful"
        await self._events.record(owner, "Normal", "SuccessfulDelete", text)


def setup(manager: Manager) -> None:
    """Run the controller."""
    sets, pods = manager.informer(StatefulSet), manager.informer(Pod)

    def wanting(pod: Pod) -> list[ObjectKey]:
        return [each.key for each in selecting(sets, pod, selector_of)]

    def of_claim(claim: PersistentVolumeClaim) -> list[ObjectKey]:
        """A claim that went must go entirely before its number gets another."""
        if claim.metadata.deletion_timestamp is None:
            return []
        labels, namespace = claim.metadata.labels, claim.metadata.namespace
        found = ((each, selector_of(each)) for each in sets.list(namespace) if each.spec.volume_claim_templates)
        return [each.key for each, selector in found if selector is not None and selector.matches(labels)]

    manager.controller(
        "statefulsets",
        StatefulSetReconciler(manager),
        For(sets),
        Owns(pods, StatefulSet),
        Maps(pods, wanting),
        Maps(manager.informer(PersistentVolumeClaim), of_claim),
    )
