"""The reconciler of JobSets: reads a JobSet and its Jobs, decides, acts, reports."""

from typing import Any, Final

from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, APIError, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.expectations import Expectations
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.batch import Job
from ketch.training.announcements import WARNING
from ketch.training.jobsets.decisions import Decision, decide
from ketch.training.jobsets.desired import claims_of, has_host_names, service_of
from ketch.training.jobsets.types import MANAGED_BY, JobSet
from ketch.training.writing import delete, report, together

MANAGER: Final = "jobset-controller"


class JobSetReconciler:
    """Reconciles JobSets."""

    def __init__(self, manager: Manager) -> None:
        self._client, self._clock = manager.client, manager.clock
        self._sets, self._jobs = manager.informer(JobSet), manager.informer(Job)
        self._expected = Expectations(self._jobs, manager.clock)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        jobset = self._sets.get(key)
        if jobset is None or jobset.metadata.deletion_timestamp or not self._expected.met(jobset.metadata.uid):
            return Result()  # what it owns goes with it
        if jobset.spec.managed_by not in (None, "", MANAGED_BY):
            return Result()
        decision = decide(jobset, self._jobs.owned_by(jobset.metadata.uid), self._clock.now())
        if decision.remove:
            await delete(self._client, jobset, "Background")  # its time after the end is over
            return Result()
        # Before any Job of an attempt is touched, the attempt's number is on disk.
        if decision.status != jobset.status:
            await report(self._client, jobset, decision.status, MANAGER)
        await self._act(jobset, decision)
        for each in decision.announcements:
            await self._events.record(jobset, each.type, each.reason, each.message)
        return Result(requeue_after=decision.look_again)

    async def _act(self, jobset: JobSet, decision: Decision) -> None:
        await together([self._remove(jobset, job) for job in decision.delete])
        await together([self._suspend(job) for job in decision.suspend])
        await together([self._resume(old, new) for old, new in decision.resume])
        if decision.prepare:
            await self._prepare(jobset)
        await together([self._create(jobset, job) for job in decision.create])

    async def _prepare(self, jobset: JobSet) -> None:
        """Names and claims before those who use them."""
        if has_host_names(jobset):
            await self._client.apply(service_of(jobset), manager=MANAGER)
        for claim in claims_of(jobset):
            await self._client.apply(claim, manager=MANAGER)

    async def _create(self, jobset: JobSet, job: Job) -> None:
        try:
            made = await self._client.create(job, manager=MANAGER)
        except AlreadyExists:
            return  # not seen yet, or another's: then its event never comes and nothing else is harmed
        except APIError as error:
            await self._events.record(jobset, WARNING, "JobCreationFailed", str(error))
            raise
        self._expected.created(jobset.metadata.uid, made)

    async def _remove(self, jobset: JobSet, job: Job) -> None:
        """With its pods first, so that the next attempt finds their names free."""
        if await delete(self._client, job, "Foreground"):
            self._expected.deleted(jobset.metadata.uid, job)

    async def _suspend(self, job: Job) -> None:
        await self._patch(job, {"spec": {"suspend": True}})

    async def _resume(self, old: Job, new: Job) -> None:
        """Let it go on; what a queue added to the template meanwhile (where pods may go) comes first."""
        template = new.spec.template
        mutable = {"nodeSelector": dict(template.spec.node_selector)} if template.spec.node_selector else {}
        if mutable and old.status.start_time is None:
            await self._patch(old, {"spec": {"template": {"spec": mutable}}})
        await self._patch(old, {"spec": {"suspend": False}})

    async def _patch(self, job: Job, change: dict[str, Any]) -> None:
        meta = job.metadata
        try:
            await self._client.patch(Job, meta.name, meta.namespace, change, content_type=MERGE_PATCH)
        except NotFound:
            return
