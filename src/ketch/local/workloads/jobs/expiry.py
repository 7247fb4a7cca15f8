"""Finished Jobs go, with their pods, ``ttlSecondsAfterFinished`` after their end."""

from datetime import datetime, timedelta

from ketch.kube.client import DeleteOptions
from ketch.kube.conditions import is_true
from ketch.kube.controller import Result
from ketch.kube.errors import Conflict, NotFound
from ketch.kube.manager import For, Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.types.batch import Job
from ketch.local.workloads.jobs.counting import COMPLETE, JOB_FAILED


def seconds_left(job: Job, now: datetime) -> float | None:
    """Seconds until the Job is to go; None while it has not finished, or may stay."""
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None or job.metadata.deletion_timestamp is not None:
        return None
    for condition in job.status.conditions:
        if condition.type in (COMPLETE, JOB_FAILED) and is_true((condition,), condition.type):
            end = condition.last_transition_time or now
            return (end + timedelta(seconds=ttl) - now).total_seconds()
    return None


class ExpiryReconciler:
    """Deletes Jobs whose time is up."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._jobs = manager.informer(Job)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        job = self._jobs.get(key)
        left = seconds_left(job, self._clock.now()) if job else None
        if job is None or left is None:
            return Result()
        if left > 0:
            return Result(requeue_after=left)
        meta = job.metadata
        options = DeleteOptions(propagation="Foreground", uid=meta.uid, resource_version=meta.resource_version)
        try:
            await self._client.delete(Job, meta.name, meta.namespace, options)
        except (NotFound, Conflict):
            return Result()  # gone, or changed: its event brings the key back
        return Result()


def setup(manager: Manager) -> None:
    """Run the controller."""
    manager.controller("job-expiry", ExpiryReconciler(manager), For(manager.informer(Job)))
