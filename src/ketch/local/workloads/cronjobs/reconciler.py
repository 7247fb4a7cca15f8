"""CronJob: makes the Job that is due, minds those that still run, and forgets old ones."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from ketch.kube.client import DeleteOptions
from ketch.kube.conditions import is_true
from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, APIError, Conflict, NotFound
from ketch.kube.events import EventRecorder, reference
from ketch.kube.manager import For, Manager, Owns
from ketch.kube.meta import ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.types.batch import CronJob, CronJobStatus, Job
from ketch.local.workloads.cronjobs.timing import ScheduleError, is_manual, job_for, job_name, ticks_of, turn
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.reporting import report

MANAGER = "cronjob-controller"
COMPLETE, FAILED = "Complete", "Failed"
FORBID, REPLACE = "Forbid", "Replace"
SUCCESSFUL_LIMIT, FAILED_LIMIT = 3, 1
"""Finished Jobs that are kept unless the CronJob says otherwise."""
LOOK_AGAIN_SECONDS = 600.0
"""At the latest: the wall clock may be set, and a machine that slept has not counted the seconds."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def has_succeeded(job: Job) -> bool:
    """Whether it is complete."""
    return is_true(job.status.conditions, COMPLETE)


def is_finished(job: Job) -> bool:
    """Whether it has ended, either way."""
    return is_true(job.status.conditions, COMPLETE, FAILED)


def still_active(jobs: Sequence[Job]) -> list[Job]:
    """Those that run, oldest first; Jobs that somebody made by hand do not count."""
    running = [job for job in jobs if not is_finished(job) and not is_manual(job.metadata.annotations)]
    return sorted(running, key=_age)


def outlived(cron_job: CronJob, jobs: Sequence[Job]) -> list[Job]:
    """Finished Jobs beyond what is kept of either kind, oldest first."""
    spec = cron_job.spec
    kept = (
        (SUCCESSFUL_LIMIT if spec.successful_jobs_history_limit is None else spec.successful_jobs_history_limit, True),
        (FAILED_LIMIT if spec.failed_jobs_history_limit is None else spec.failed_jobs_history_limit, False),
    )
    found: list[Job] = []
    for limit, successful in kept:
        ended = sorted((job for job in jobs if is_finished(job) and has_succeeded(job) == successful), key=_age)
        found += ended[: max(0, len(ended) - limit)]
    return found


def _age(job: Job) -> tuple[datetime, str]:
    return job.status.start_time or job.metadata.creation_timestamp or BEGINNING, job.metadata.name


def next_status(cron_job: CronJob, jobs: Sequence[Job], scheduled: datetime | None) -> CronJobStatus:
    """What to report; ``scheduled`` is the last time for which a Job was made, where that is new."""
    ends = [job.status.completion_time for job in jobs if has_succeeded(job) and job.status.completion_time]
    known = cron_job.status.last_successful_time
    references = [msgspec.structs.replace(reference(job), resource_version="") for job in still_active(jobs)]
    return msgspec.structs.replace(
        cron_job.status,
        active=tuple(references),
        last_schedule_time=scheduled or cron_job.status.last_schedule_time,
        last_successful_time=max((*ends, *([known] if known else [])), default=None),
    )


class CronJobReconciler:
    """Makes and deletes Jobs of CronJobs."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._cron_jobs = manager.informer(CronJob)
        self._jobs = manager.informer(Job)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        cron_job = self._cron_jobs.get(key)
        if cron_job is None or cron_job.metadata.deletion_timestamp is not None:
            return Result()
        jobs = self._jobs.owned_by(cron_job.metadata.uid)
        await self._tell_ends(cron_job, jobs)
        due, wait = await self._due(cron_job)
        if due is not None:
            jobs, due = await self._begin(cron_job, jobs, due)
        await report(self._client, cron_job, next_status(cron_job, jobs, due), MANAGER)
        for job in outlived(cron_job, jobs):
            await self._delete(cron_job, job)
        return Result(requeue_after=wait)

    async def _tell_ends(self, cron_job: CronJob, jobs: Sequence[Job]) -> None:
        by_uid = {job.metadata.uid: job for job in jobs}
        for known in cron_job.status.active:
            job = by_uid.get(known.uid)
            if job is not None and is_finished(job):
                how = COMPLETE if has_succeeded(job) else FAILED
                text = f"Saw completed job: {job.metadata.name}, condition: {how}"
                await self._events.record(cron_job, "Normal", "SawCompletedJob", text)

    async def _due(self, cron_job: CronJob) -> tuple[datetime | None, float | None]:
        """The time that a Job is to be made for, if any, and seconds until the next."""
        if cron_job.spec.suspend:
            return None, None
        now = self._clock.now()
        try:
            found = turn(cron_job, ticks_of(cron_job), now)
        except ScheduleError as error:
            await self._events.record(cron_job, "Warning", error.reason, str(error))
            return None, None
        wait = None
        if found.following is not None:
            wait = max(0.0, min((found.following - now).total_seconds(), LOOK_AGAIN_SECONDS)) + 0.001
        if found.missed is not None:
            text = f"Missed scheduled time to start a job: {found.missed.strftime('%a, %d %b %Y %H:%M:%S +0000')}"
            await self._events.record(cron_job, "Warning", "MissSchedule", text)
        return found.due, wait

    async def _begin(self, cron_job: CronJob, jobs: list[Job], due: datetime) -> tuple[list[Job], datetime | None]:
        """Make the Job of a time, if others allow it; the Jobs then, and the time if it has its Job."""
        active = still_active(jobs)
        made = self._known(cron_job, job_name(cron_job, due)) if active else None
        if made is None and active and cron_job.spec.concurrency_policy == FORBID:
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            await self._events.record(cron_job, "Normal", "JobAlreadyActive", text)
            return jobs, None
        if made is None and cron_job.spec.concurrency_policy == REPLACE:
            for job in active:
                await self._delete(cron_job, job)
            jobs = [job for job in jobs if job not in active]
        made = made or await self._make(cron_job, due)
        if made is None:
            return jobs, None
        return [*(job for job in jobs if job.metadata.uid != made.metadata.uid), made], due

    def _known(self, cron_job: CronJob, name: str) -> Job | None:
        """The Job of that time, where an earlier pass has made it and the cache does not show what it wrote."""
        job = self._jobs.get(ObjectKey(cron_job.metadata.namespace, name))
        owner = controller_of(job) if job else None
        return job if owner is not None and owner.uid == cron_job.metadata.uid else None

    async def _make(self, cron_job: CronJob, due: datetime) -> Job | None:
        wanted = job_for(cron_job, due)
        try:
            made = await self._client.create(wanted, manager=MANAGER)
        except AlreadyExists:
            made = await self._client.get(Job, wanted.metadata.name, wanted.metadata.namespace)
            owner = controller_of(made)
            if owner is None or owner.uid != cron_job.metadata.uid:
                text = f"Error creating job: a job {wanted.metadata.name} of somebody else exists: delete or rename it"
                await self._events.record(cron_job, "Warning", "FailedCreate", text)
                return None
        except APIError as error:
            if is_dying(error):
                return None
            await self._events.record(cron_job, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        else:
            await self._events.record(cron_job, "Normal", "SuccessfulCreate", f"Created job {made.metadata.name}")
        return made

    async def _delete(self, cron_job: CronJob, job: Job) -> None:
        meta = job.metadata
        try:
            await self._client.delete(Job, meta.name, meta.namespace, DeleteOptions("Background", uid=meta.uid))
        except (NotFound, Conflict):
            return
        await self._events.record(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {meta.name}")


def setup(manager: Manager) -> None:
    """Run the controller."""
    cron_jobs, jobs = manager.informer(CronJob), manager.informer(Job)
    manager.controller("cronjobs", CronJobReconciler(manager), For(cron_jobs), Owns(jobs, CronJob))
