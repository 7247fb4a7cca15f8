"""PodGroup: how far pods that are placed together have come, counted from the pods themselves."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from ketch.kube.controller import Result
from ketch.kube.manager import For, Manager, Maps
from ketch.kube.meta import ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup, PodGroupStatus
from ketch.kube.types.pods import Pod
from ketch.local.workloads.pods import FAILED, RUNNING, SUCCEEDED, is_deleting
from ketch.local.workloads.reporting import report

MANAGER = "podgroup-controller"
BY_GROUP = "podgroups.group"
WAITING, PRE_SCHEDULING, SCHEDULING, SCHEDULED, FINISHED = (
    "Pending",
    "PreScheduling",
    "Scheduling",
    "Scheduled",
    "Finished",
)
FINAL = (FINISHED, FAILED)


def phase_of(group: PodGroup, pods: Sequence[Pod]) -> str:
    """How far the group has come.

    ==============  ======================================================================
    Pending         fewer pods than it needs exist
    PreScheduling   enough exist, none has a node
    Scheduling      some have a node, fewer than it needs (the others were lost)
    Scheduled       as many as it needs have a node
    Running         as many as it needs run, or have succeeded
    Finished        as many as it needs have succeeded
    Failed          a pod has failed, of as many as it needs that have begun
    ==============  ======================================================================

    What is finished or failed stays so when its pods are cleaned up.
    """
    needed = group.spec.min_member or 1
    phases = [pod.status.phase for pod in pods]
    running, succeeded, failed = (phases.count(each) for each in (RUNNING, SUCCEEDED, FAILED))
    placed = sum(bool(pod.spec.node_name) for pod in pods)
    if succeeded >= needed:
        return FINISHED
    if failed and failed + running + succeeded >= needed:
        return FAILED
    if len(pods) < needed:
        return group.status.phase if group.status.phase in FINAL else WAITING
    if running + succeeded >= needed:
        return RUNNING
    if placed >= needed:
        return SCHEDULED
    return SCHEDULING if placed else PRE_SCHEDULING


def next_status(group: PodGroup, pods: Sequence[Pod], now: datetime) -> PodGroupStatus:
    """What to report; the time from which it waits for nodes is that of its last beginning."""
    phases = [pod.status.phase for pod in pods]
    phase, status = phase_of(group, pods), group.status
    owner = next(filter(None, map(controller_of, pods)), None)
    begins = phase == PRE_SCHEDULING and status.phase != PRE_SCHEDULING
    occupied = f"{group.metadata.namespace}/{owner.name}" if owner else status.occupied_by
    return msgspec.structs.replace(
        status,
        phase=phase,
        occupied_by=occupied,
        scheduled=sum(bool(pod.spec.node_name) for pod in pods),
        running=phases.count(RUNNING),
        succeeded=phases.count(SUCCEEDED),
        failed=phases.count(FAILED),
        schedule_start_time=now.replace(microsecond=0) if begins else status.schedule_start_time,
    )


def _group_of(pod: Pod) -> Iterator[str]:
    if name := pod.metadata.labels.get(POD_GROUP_LABEL):
        yield str(ObjectKey(pod.metadata.namespace, name))


class PodGroupReconciler:
    """Counts, and reports. It makes nothing: pods are their owner's, nodes the scheduler's."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._groups = manager.informer(PodGroup)
        self._pods = manager.informer(Pod)
        self._pods.add_index(BY_GROUP, _group_of)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        group = self._groups.get(key)
        if group is None or group.metadata.deletion_timestamp is not None:
            return Result()
        pods = [pod for pod in self._pods.by_index(BY_GROUP, str(key)) if not is_deleting(pod)]
        status = next_status(group, pods, self._clock.now())
        await report(self._client, group, status, MANAGER)
        return Result()


def setup(manager: Manager) -> None:
    """Run the controller. The scheduler defines the kind."""

    def of_pod(pod: Pod) -> list[ObjectKey]:
        name = pod.metadata.labels.get(POD_GROUP_LABEL)
        return [ObjectKey(pod.metadata.namespace, name)] if name else []

    manager.controller(
        "podgroups",
        PodGroupReconciler(manager),
        For(manager.informer(PodGroup)),
        Maps(manager.informer(Pod), of_pod),
    )
