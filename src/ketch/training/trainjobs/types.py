"""TrainJob and its runtimes, declared once: schemas, definitions and clients' fields follow from here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, field

from ketch.kube.codec import KubeStruct
from ketch.kube.definitions import ListMap
from ketch.kube.meta import Condition, KubeObject, ObjectMeta, Resource
from ketch.kube.types.containers import EnvVar, ResourceRequirements
from ketch.training.jobsets.types import JobSetSpec
from ketch.training.mpirun import OPEN_MPI, SSH_PATH
from ketch.training.progress.types import Progress

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
MANAGED_BY: Final = "trainer.kubeflow.org/trainjob-controller"
CLUSTER_RUNTIME, RUNTIME = "ClusterTrainingRuntime", "TrainingRuntime"

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


class RuntimeReference(KubeStruct, frozen=True, kw_only=True):
    """The runtime that the job is made from."""

    name: str = ""
    api_group: str = ""
    kind: Literal["", "ClusterTrainingRuntime", "TrainingRuntime"] = ""


class SecretReference(KubeStruct, frozen=True, kw_only=True):
    """A Secret of the job's namespace."""

    name: str = ""


class Source(KubeStruct, frozen=True, kw_only=True):
    """Where a dataset or a model comes from: hf://, s3://, http(s)://, file:// and the like."""

    storage_uri: str | None = None
    env: Annotated[tuple[EnvVar, ...], ListMap("name")] = ()
    secret_ref: SecretReference | None = None


class Initializer(KubeStruct, frozen=True, kw_only=True):
    """What must be there before training begins."""

    dataset: Source | None = None
    model: Source | None = None


class Trainer(KubeStruct, frozen=True, kw_only=True):
    """What of the runtime's trainer this job does otherwise."""

    image: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Annotated[tuple[EnvVar, ...], ListMap("name")] = ()
    num_nodes: Positive | None = None
    resources_per_node: ResourceRequirements | None = None
    num_proc_per_node: Positive | None = None


class RuntimePatch(KubeStruct, frozen=True, kw_only=True):
    """One manager's changes of what the runtime says, as a strategic merge patch."""

    manager: Annotated[str, Meta(min_length=1)]
    time: datetime | None = None
    training_runtime_spec: Mapping[str, Any] = field(default_factory=dict[str, Any])


class TargetJob(KubeStruct, frozen=True, kw_only=True):
    """One of the runtime's replicated jobs."""

    name: Annotated[str, Meta(min_length=1)]


class PodTemplateOverride(KubeStruct, frozen=True, kw_only=True):
    """What pods of some replicated jobs have otherwise: the form of Trainer 2.0 and 2.1, before runtime patches."""

    target_jobs: tuple[TargetJob, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])


class TrainJobSpec(KubeStruct, frozen=True, kw_only=True):
    """What to train, on which runtime."""

    runtime_ref: RuntimeReference = RuntimeReference()
    initializer: Initializer | None = None
    trainer: Trainer | None = None
    pod_template_overrides: tuple[PodTemplateOverride, ...] = ()
    runtime_patches: Annotated[tuple[RuntimePatch, ...], ListMap("manager")] = ()
    suspend: bool | None = None
    active_deadline_seconds: Positive | None = None
    managed_by: str | None = None


class JobStatus(KubeStruct, frozen=True, kw_only=True):
    """How many Jobs of one step are where."""

    name: str
    ready: int
    succeeded: int
    failed: int
    active: int
    suspended: int


class TrainJobStatus(Progress, frozen=True, kw_only=True):
    """What became of the job: Suspended, Complete or Failed. As upstream it has no condition while it runs."""

    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = ()
    jobs_status: Annotated[tuple[JobStatus, ...], ListMap("name")] = ()


class TrainJob(KubeObject, frozen=True, kw_only=True):
    """One training on a runtime."""

    resource: ClassVar = Resource(GROUP, VERSION, "TrainJob", "trainjobs")

    spec: TrainJobSpec = TrainJobSpec()
    status: TrainJobStatus = TrainJobStatus()


class TorchPolicy(KubeStruct, frozen=True, kw_only=True):
    """PyTorch's torchrun starts the processes."""

    env_injection: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _default(value: object) -> Meta:
    return Meta(extra_json_schema={"default": value})


class MPIPolicy(KubeStruct, frozen=True, kw_only=True):
    """mpirun starts the processes, over ssh."""

    num_proc_per_node: Annotated[Positive | None, _default(1)] = None
    mpi_implementation: Annotated[Literal["OpenMPI", "Intel", "MPICH"], _default(OPEN_MPI)] = OPEN_MPI
    ssh_auth_mount_path: Annotated[str | None, _default(SSH_PATH)] = None
    run_launcher_as_node: Annotated[bool | None, _default(value=False)] = None


class JAXPolicy(KubeStruct, frozen=True, kw_only=True):
    """JAX processes that find their coordinator."""


class XGBoostPolicy(KubeStruct, frozen=True, kw_only=True):
    """XGBoost workers that find their tracker."""


class FluxPolicy(KubeStruct, frozen=True, kw_only=True):
    """Flux starts the processes."""

    num_proc_per_node: Positive | None = None


class MLPolicy(KubeStruct, frozen=True, kw_only=True):
    """How many nodes, and how their processes find each other; none of them: they do not."""

    num_nodes: Positive | None = None
    torch: TorchPolicy | None = None
    mpi: MPIPolicy | None = None
    jax: JAXPolicy | None = None
    xgboost: XGBoostPolicy | None = None
    flux: FluxPolicy | None = None


class Coscheduling(KubeStruct, frozen=True, kw_only=True):
    """All pods are placed together or not at all."""

    schedule_timeout_seconds: Count | None = None


class PodGroupPolicy(KubeStruct, frozen=True, kw_only=True):
    """How the job's pods are placed together."""

    coscheduling: Coscheduling | None = None
    volcano: Mapping[str, Any] | None = None


class JobSetTemplate(KubeStruct, frozen=True, kw_only=True):
    """The JobSet that jobs of this runtime become."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSetSpec = JobSetSpec()


class TrainingRuntimeSpec(KubeStruct, frozen=True, kw_only=True):
    """What a runtime offers."""

    ml_policy: MLPolicy | None = field(default=None, name="mlPolicy")
    pod_group_policy: PodGroupPolicy | None = None
    template: JobSetTemplate = JobSetTemplate()


class TrainingRuntime(KubeObject, frozen=True, kw_only=True):
    """A blueprint of training jobs for one namespace."""

    resource: ClassVar = Resource(GROUP, VERSION, RUNTIME, "trainingruntimes")

    spec: TrainingRuntimeSpec = TrainingRuntimeSpec()


class ClusterTrainingRuntime(KubeObject, frozen=True, kw_only=True):
    """A blueprint of training jobs for all namespaces."""

    resource: ClassVar = Resource(GROUP, VERSION, CLUSTER_RUNTIME, "clustertrainingruntimes", namespaced=False)

    spec: TrainingRuntimeSpec = TrainingRuntimeSpec()
