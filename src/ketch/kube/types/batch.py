"""batch/v1: Job, CronJob."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import Condition, KubeObject, LabelSelector, ObjectMeta, Resource
from ketch.kube.types.containers import NOTHING
from ketch.kube.types.pods import PodTemplateSpec
from ketch.kube.types.services import ObjectReference


class JobSpec(KubeStruct, frozen=True, kw_only=True):
    """Pods that must succeed, and what to do with those that fail."""

    parallelism: int | None = None
    completions: int | None = None
    completion_mode: str | None = None
    active_deadline_seconds: int | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    pod_failure_policy: Mapping[str, Any] = NOTHING
    success_policy: Mapping[str, Any] = NOTHING
    pod_replacement_policy: str | None = None
    selector: LabelSelector | None = None
    manual_selector: bool | None = None
    template: PodTemplateSpec = PodTemplateSpec()
    ttl_seconds_after_finished: int | None = None
    suspend: bool | None = None
    managed_by: str | None = None


class JobCondition(Condition, frozen=True, kw_only=True):
    """Complete, Failed, Suspended, FailureTarget or SuccessCriteriaMet."""

    last_probe_time: datetime | None = None


class UncountedTerminatedPods(KubeStruct, frozen=True, kw_only=True):
    """Pods that have ended and are not yet in the counts, by uid."""

    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class JobStatus(KubeStruct, frozen=True, kw_only=True):
    """Counts of pods, and how the job ended."""

    conditions: tuple[JobCondition, ...] = ()
    start_time: datetime | None = None
    completion_time: datetime | None = None
    active: int = 0
    ready: int | None = None
    terminating: int | None = None
    succeeded: int = 0
    failed: int = 0
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None


class Job(KubeObject, frozen=True, kw_only=True):
    """Pods that run until enough of them have succeeded."""

    resource: ClassVar = Resource("batch", "v1", "Job", "jobs")

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class JobTemplateSpec(KubeStruct, frozen=True, kw_only=True):
    """The Jobs that a CronJob makes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()


class CronJobSpec(KubeStruct, frozen=True, kw_only=True):
    """When to make a Job, and what to do about earlier ones: Allow, Forbid or Replace."""

    schedule: str = ""
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = ""
    suspend: bool | None = None
    job_template: JobTemplateSpec = JobTemplateSpec()
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None


class CronJobStatus(KubeStruct, frozen=True, kw_only=True):
    """Jobs that run, and when the last was due and has succeeded."""

    active: tuple[ObjectReference, ...] = ()
    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


class CronJob(KubeObject, frozen=True, kw_only=True):
    """A Job again and again, by the clock."""

    resource: ClassVar = Resource("batch", "v1", "CronJob", "cronjobs")

    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()
