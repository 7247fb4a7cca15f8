"""Job: pods of its template run until enough have succeeded, or too many have failed."""

from collections.abc import Iterable, Sequence

import msgspec

from ketch.kube.client import Client
from ketch.kube.conditions import is_true
from ketch.kube.controller import Result
from ketch.kube.errors import APIError, Conflict, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.expectations import Expectations
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.selectors import Selector, from_label_selector
from ketch.kube.transport import STRATEGIC_MERGE_PATCH
from ketch.kube.types.batch import Job
from ketch.kube.types.containers import Container, EnvVar
from ketch.kube.types.pods import Pod
from ketch.local.workloads.batches import slow_start, together
from ketch.local.workloads.claiming import Claims
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.jobs.counting import (
    COMPLETE,
    INDEX,
    JOB_FAILED,
    SUSPENDED,
    TRACKING,
    Ending,
    Tally,
    deadline_left,
    ending,
    free_indexes,
    is_finished,
    is_indexed,
    is_tracked,
    next_status,
    superfluous,
    tally,
    wanted_active,
)
from ketch.local.workloads.jobs.failures import delay
from ketch.local.workloads.jobs.perindex import FAILURES, counts_by_index, failures_of, ready_indexes
from ketch.local.workloads.pods import from_template, to_delete

MANAGER = "job-controller"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
BURST = 500
"""The most pods that one pass creates."""
OURS = (None, "", "kubernetes.io/job-controller")
"""Values of ``spec.managedBy`` that leave a Job to this controller."""


def selector_of(job: Job) -> Selector | None:
    """Which pods it means."""
    return from_label_selector(job.spec.selector)


def pod_for(job: Job, index: int | None, failures: int | None = None) -> Pod:
    """A new pod; with an index it carries the number in annotation, label, variable and host name.

    ``failures`` of the index so far are told where each index has a limit of its own.
    """
    pod = from_template(job, job.spec.template)
    meta = msgspec.structs.replace(pod.metadata, finalizers=(*pod.metadata.finalizers, TRACKING))
    if index is None:
        return msgspec.structs.replace(pod, metadata=meta)
    number, name = str(index), job.metadata.name
    variable = EnvVar(name=INDEX_VARIABLE, value=number)

    def numbered(containers: Iterable[Container]) -> tuple[Container, ...]:
        return tuple(
            each
            if any(known.name == INDEX_VARIABLE for known in each.env)
            else msgspec.structs.replace(each, env=(*each.env, variable))
            for each in containers
        )

    spec = msgspec.structs.replace(
        pod.spec,
        containers=numbered(pod.spec.containers),
        init_containers=numbered(pod.spec.init_containers),
        hostname=pod.spec.hostname or f"{name}-{number}",
    )
    meta = msgspec.structs.replace(
        meta,
        generate_name=f"{name}-{number}-",
        labels={**meta.labels, INDEX: number},
        annotations={**meta.annotations, INDEX: number, **({} if failures is None else {FAILURES: str(failures)})},
    )
    return msgspec.structs.replace(pod, metadata=meta, spec=spec)


class JobReconciler:
    """Creates, counts and deletes pods of Jobs."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._jobs = manager.informer(Job)
        self._pods = manager.informer(Pod)
        self._claims = Claims(manager.client, self._pods, MANAGER)
        self._expected = Expectations(self._pods, manager.clock)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass: count what has ended, write that down, then let the counted pods go and adjust the others."""
        job = self._jobs.get(key)
        if job is None or job.spec.managed_by not in OURS or not self._expected.met(job.metadata.uid):
            return Result()
        pods = await self._claims.claimed(job, selector_of(job) or Selector(), self._pods)
        if is_finished(job) or job.metadata.deletion_timestamp is not None:
            await self._release(pods)
            return Result()
        counted = tally(job, pods)
        end = ending(job, counted, self._clock.now())
        await self._report(job, counted, end)
        await self._release(counted.to_release)
        if end is not None:
            await self._delete(job, counted.active)
            return Result()
        wait = await self._adjust(job, pods, counted)
        left = deadline_left(job, self._clock.now())
        waits = [each for each in (wait, left) if each is not None]
        return Result(requeue_after=max(0.0, min(waits)) + 0.001 if waits else None)

    async def _adjust(self, job: Job, pods: Sequence[Pod], counted: Tally) -> float | None:
        """Begin or end pods; how long to wait when a back-off forbids to begin."""
        if surplus := superfluous(job, counted.active):
            await self._delete(job, surplus)
            return None  # their ends bring the key back
        missing = wanted_active(job, counted) - len(counted.active)
        if missing < 0:
            await self._delete(job, to_delete(counted.active, -missing))
        if missing <= 0:
            return None
        numbers, wait = self._next(job, pods, counted, min(missing, BURST))
        failures = failures_of(job, pods) if counts_by_index(job) else None

        async def create(place: int) -> None:
            number = numbers[place]
            before = None if failures is None or number is None else failures[number]
            made = await self._client.create(pod_for(job, number, before), manager=MANAGER)
            self._expected.created(job.metadata.uid, made)
            await self._events.record(job, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")

        try:
            await slow_start(len(numbers), create)
        except APIError as error:
            if is_dying(error):
                return None
            await self._events.record(job, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        return wait

    def _next(
        self, job: Job, pods: Sequence[Pod], counted: Tally, count: int
    ) -> tuple[Sequence[int | None], float | None]:
        """Which indexes (None where pods have none) may begin now; and how long to wait for the next ones."""
        if counts_by_index(job):
            free = free_indexes(job, counted, job.spec.completions or 0)
            return ready_indexes(pods, free, count, self._clock.now())
        wait = delay(pods, self._clock.now())
        if wait > 0:
            return (), wait
        return free_indexes(job, counted, count) if is_indexed(job) else [None] * count, None

    async def _delete(self, job: Job, pods: Sequence[Pod]) -> None:
        """End pods without counting them as failed."""

        async def one(pod: Pod) -> None:
            try:
                await self._untrack(pod)
                await self._client.delete(Pod, pod.metadata.name, pod.metadata.namespace)
            except NotFound:
                return
            self._expected.deleted(job.metadata.uid, pod)
            await self._events.record(job, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

        await together(map(one, pods))

    async def _release(self, pods: Iterable[Pod]) -> None:
        await together(self._untrack(pod) for pod in pods if is_tracked(pod))

    async def _untrack(self, pod: Pod) -> None:
        await untrack(self._client, pod)

    async def _report(self, job: Job, counted: Tally, end: Ending | None) -> None:
        """Write the status. Only over the version that was counted on: a Conflict means to count again."""
        status = next_status(job, counted, end, self._clock.now())
        if status == job.status:
            return
        try:
            await self._client.update_status(msgspec.structs.replace(job, status=status), manager=MANAGER)
        except NotFound:
            return
        if is_true(status.conditions, COMPLETE):
            await self._events.record(job, "Normal", "Completed", "Job completed")
        elif is_true(status.conditions, JOB_FAILED) and end is not None:
            await self._events.record(job, "Warning", end.reason, end.message)
        elif is_true(status.conditions, SUSPENDED) != is_true(job.status.conditions, SUSPENDED):
            suspended = is_true(status.conditions, SUSPENDED)
            text = ("Suspended", "Job suspended") if suspended else ("Resumed", "Job resumed")
            await self._events.record(job, "Normal", *text)


async def untrack(client: Client, pod: Pod) -> None:
    """Take the tracking finalizer from a pod; one that is gone needs nothing."""
    meta = pod.metadata
    if not is_tracked(pod):
        return
    body = {"metadata": {"uid": meta.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}}
    try:
        await client.patch(Pod, meta.name, meta.namespace, body, content_type=STRATEGIC_MERGE_PATCH, manager=MANAGER)
    except (NotFound, Conflict):
        return  # gone, or another pod of that name


class OrphanReconciler:
    """Lets go of tracked pods whose Job is gone, or that no Job controls any more."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._jobs = manager.informer(Job)
        self._pods = manager.informer(Pod)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass over a pod."""
        pod = self._pods.get(key)
        if pod is None or not is_tracked(pod):
            return Result()
        owner = controller_of(pod)
        if owner is not None and owner.kind == "Job":
            job = self._jobs.get(ObjectKey(key.namespace, owner.name))
            if job is not None and job.metadata.uid == owner.uid:
                return Result()
            try:
                newest = await self._client.get(Job, owner.name, key.namespace)
            except NotFound:
                newest = None
            if newest is not None and newest.metadata.uid == owner.uid:
                return Result()  # the cache is behind
        await untrack(self._client, pod)
        return Result()


def setup(manager: Manager) -> None:
    """Run the controllers."""
    jobs, pods = manager.informer(Job), manager.informer(Pod)
    manager.controller("jobs", JobReconciler(manager), For(jobs), Owns(pods, Job))

    def astray(pod: Pod) -> list[ObjectKey]:
        if not is_tracked(pod):
            return []
        return [pod.key] if controller_of(pod) is None or pod.metadata.deletion_timestamp is not None else []

    orphans = manager.controller("job-orphans", OrphanReconciler(manager), Maps(pods, astray))

    def job_gone(old: Job | None, new: Job | None) -> None:
        if old is not None and new is None:
            for pod in pods.owned_by(old.metadata.uid):
                orphans.enqueue(pod.key)

    jobs.add_handler(job_gone)
