"""JobSet, declared once: schema, definition and clients' fields follow from here."""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, field

from ketch.kube.codec import KubeStruct
from ketch.kube.definitions import ListMap
from ketch.kube.meta import Condition, KubeObject, ObjectMeta, Resource
from ketch.kube.types.batch import JobSpec
from ketch.kube.types.core import ClaimSpec

GROUP, VERSION = "jobset.x-k8s.io", "v1alpha2"
MANAGED_BY: Final = "jobset.sigs.k8s.io/jobset-controller"

Count = Annotated[int, Meta(ge=0)]


class JobTemplate(KubeStruct, frozen=True, kw_only=True):
    """The Jobs of a replicated job."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()


class DependsOn(KubeStruct, frozen=True, kw_only=True):
    """Another replicated job that must be that far before this one is created."""

    name: str
    status: Literal["Ready", "Complete"]


class ReplicatedJob(KubeStruct, frozen=True, kw_only=True):
    """So many equal Jobs."""

    name: Annotated[str, Meta(min_length=1)]
    group_name: str = ""
    replicas: Count | None = None
    depends_on: tuple[DependsOn, ...] = ()
    template: JobTemplate = JobTemplate()


class Network(KubeStruct, frozen=True, kw_only=True):
    """How pods find each other: by host names below one headless service."""

    enable_dns_hostnames: bool | None = field(default=None, name="enableDNSHostnames")
    subdomain: str = ""
    publish_not_ready_addresses: bool | None = None


class SuccessPolicy(KubeStruct, frozen=True, kw_only=True):
    """Which Jobs must complete; no targets are all."""

    operator: Literal["", "All", "Any"] = ""
    target_replicated_jobs: tuple[str, ...] = ()


class FailurePolicyRule(KubeStruct, frozen=True, kw_only=True):
    """What a failed Job means, if it is one that the rule speaks of."""

    name: str = ""
    action: Literal[
        "FailJobSet",
        "RestartJobSet",
        "RestartJobSetAndIgnoreMaxRestarts",
        "RestartJob",
        "RestartJobAndIgnoreMaxRestarts",
    ]
    on_job_failure_reasons: tuple[str, ...] = ()
    on_job_failure_message_patterns: tuple[str, ...] = ()
    target_replicated_jobs: tuple[str, ...] = ()


class FailurePolicy(KubeStruct, frozen=True, kw_only=True):
    """How often the JobSet begins again after a Job has failed."""

    max_restarts: Count = 0
    restart_strategy: Literal["Recreate", "BlockingRecreate", "InPlaceRestart"] = "Recreate"
    rules: tuple[FailurePolicyRule, ...] = ()


class StartupPolicy(KubeStruct, frozen=True, kw_only=True):
    """Whether replicated jobs start one after the other, each when the one before it is ready."""

    startup_policy_order: Literal["", "AnyOrder", "InOrder"] = ""

    @property
    def in_order(self) -> bool:
        """Whether each replicated job waits for the one before it."""
        return self.startup_policy_order == "InOrder"


class Coordinator(KubeStruct, frozen=True, kw_only=True):
    """The pod that all others are told the address of."""

    replicated_job: str
    job_index: Count = 0
    pod_index: Count = 0


class ClaimRetention(KubeStruct, frozen=True, kw_only=True):
    """What becomes of claims when the JobSet is deleted."""

    when_deleted: Literal["Delete", "Retain"] = "Delete"


class ClaimTemplate(KubeStruct, frozen=True, kw_only=True):
    """A PersistentVolumeClaim to make."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()


class VolumeClaimPolicy(KubeStruct, frozen=True, kw_only=True):
    """Claims that all pods of the JobSet share, and how long they live."""

    templates: tuple[ClaimTemplate, ...] = ()
    retention_policy: ClaimRetention = ClaimRetention()


class JobSetSpec(KubeStruct, frozen=True, kw_only=True):
    """The replicated jobs and what holds them together."""

    replicated_jobs: Annotated[tuple[ReplicatedJob, ...], ListMap("name")] = ()
    network: Network | None = None
    success_policy: SuccessPolicy | None = None
    failure_policy: FailurePolicy | None = None
    startup_policy: StartupPolicy | None = None
    suspend: bool | None = None
    coordinator: Coordinator | None = None
    managed_by: str | None = None
    ttl_seconds_after_finished: Count | None = None
    volume_claim_policies: tuple[VolumeClaimPolicy, ...] = ()


class ReplicatedJobStatus(KubeStruct, frozen=True, kw_only=True):
    """How many Jobs of a replicated job are where."""

    name: str
    ready: int
    succeeded: int
    failed: int
    active: int
    suspended: int


class JobSetStatus(KubeStruct, frozen=True, kw_only=True):
    """What became of the JobSet. ``restarts`` is the number of the attempt that its Jobs belong to."""

    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = ()
    restarts: int = 0
    restarts_count_towards_max: int = 0
    terminal_state: str = ""
    replicated_jobs_status: Annotated[tuple[ReplicatedJobStatus, ...], ListMap("name")] = ()


class JobSet(KubeObject, frozen=True, kw_only=True):
    """Groups of Jobs that start, succeed and fail together."""

    resource: ClassVar = Resource(GROUP, VERSION, "JobSet", "jobsets")

    spec: JobSetSpec = JobSetSpec()
    status: JobSetStatus = JobSetStatus()
