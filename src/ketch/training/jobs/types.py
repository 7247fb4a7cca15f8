"""The kinds of kubeflow.org/v1, declared once: schemas, definitions and clients' fields follow from here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, field

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import KubeObject, LabelSelector, Resource
from ketch.kube.types.pods import PodTemplateSpec
from ketch.training.progress.types import Progress

GROUP, VERSION = "kubeflow.org", "v1"
MANAGED_BY: Final = "kubeflow.org/training-operator"


Count = Annotated[int, Meta(ge=0)]


class SchedulingPolicy(KubeStruct, frozen=True, kw_only=True):
    """How the job's pods are placed together."""

    min_available: Count | None = None
    queue: str = ""
    min_resources: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    priority_class: str = ""
    schedule_timeout_seconds: Count | None = None


class RunPolicy(KubeStruct, frozen=True, kw_only=True):
    """The job's life: how long, how often again, what is left of it."""

    clean_pod_policy: Literal["", "None", "Running", "All"] = ""
    ttl_seconds_after_finished: Count | None = None
    active_deadline_seconds: Annotated[int, Meta(ge=1)] | None = None
    backoff_limit: Count | None = None
    scheduling_policy: SchedulingPolicy | None = None
    suspend: bool = False
    managed_by: str = ""


class ReplicaSpec(KubeStruct, frozen=True, kw_only=True):
    """So many equal processes of the job."""

    replicas: Count | None = None
    template: PodTemplateSpec = PodTemplateSpec()
    restart_policy: Literal["", "Always", "OnFailure", "Never", "ExitCode"] = ""


class JobCondition(KubeStruct, frozen=True, kw_only=True):
    """Created, Running, Restarting, Succeeded, Suspended or Failed; the last one in the list is the newest."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_update_time: datetime | None = None
    last_transition_time: datetime | None = None


class ReplicaStatus(KubeStruct, frozen=True, kw_only=True):
    """How many of one type's processes are where; ``restarts`` counts pods that were replaced after they failed."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    restarts: int = 0
    selector: str = ""
    label_selector: LabelSelector | None = None


class JobStatus(Progress, frozen=True, kw_only=True):
    """What became of the job."""

    conditions: tuple[JobCondition, ...] = ()
    replica_statuses: Mapping[str, ReplicaStatus] = field(default_factory=dict[str, ReplicaStatus])
    start_time: datetime | None = None
    completion_time: datetime | None = None
    last_reconcile_time: datetime | None = None


class JobSpec(KubeStruct, frozen=True, kw_only=True):
    """What the specs of all kinds share."""

    run_policy: RunPolicy = RunPolicy()


class TrainingJob(KubeObject, frozen=True, kw_only=True):
    """A job of one of the kinds below."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class KeyValue(KubeStruct, frozen=True, kw_only=True):
    """One setting of the rendezvous."""

    key: str = ""
    value: str = ""


class ElasticPolicy(KubeStruct, frozen=True, kw_only=True):
    """Between how many workers the job may live, and how they find each other (torchrun's rendezvous)."""

    min_replicas: Annotated[int, Meta(ge=1)] | None = None
    max_replicas: Annotated[int, Meta(ge=1)] | None = None
    rdzv_backend: Literal["", "c10d", "etcd", "etcd-v2"] = ""
    rdzv_port: int | None = None
    rdzv_host: str = ""
    rdzv_id: str = ""
    rdzv_conf: tuple[KeyValue, ...] = ()
    standalone: bool | None = None
    n_proc_per_node: int | None = None
    max_restarts: Count | None = None
    metrics: tuple[Mapping[str, Any], ...] = ()


class TFJobSpec(JobSpec, frozen=True, kw_only=True):
    """A TensorFlow cluster."""

    success_policy: Literal["", "AllWorkers"] = ""
    tf_replica_specs: Mapping[str, ReplicaSpec] = field(default_factory=dict[str, ReplicaSpec])
    enable_dynamic_worker: bool = False


class PyTorchJobSpec(JobSpec, frozen=True, kw_only=True):
    """A group of PyTorch processes."""

    elastic_policy: ElasticPolicy | None = None
    pytorch_replica_specs: Mapping[str, ReplicaSpec] = field(default_factory=dict[str, ReplicaSpec])
    nproc_per_node: str = ""


class XGBoostJobSpec(JobSpec, frozen=True, kw_only=True):
    """A group of XGBoost or LightGBM workers."""

    xgb_replica_specs: Mapping[str, ReplicaSpec] = field(default_factory=dict[str, ReplicaSpec])


class PaddleElasticPolicy(KubeStruct, frozen=True, kw_only=True):
    """Between how many workers the job may live."""

    min_replicas: Annotated[int, Meta(ge=1)] | None = None
    max_replicas: Annotated[int, Meta(ge=1)] | None = None
    max_restarts: Count | None = None
    metrics: tuple[Mapping[str, Any], ...] = ()


class PaddleJobSpec(JobSpec, frozen=True, kw_only=True):
    """A group of PaddlePaddle processes."""

    elastic_policy: PaddleElasticPolicy | None = None
    paddle_replica_specs: Mapping[str, ReplicaSpec] = field(default_factory=dict[str, ReplicaSpec])


class JAXJobSpec(JobSpec, frozen=True, kw_only=True):
    """A group of JAX processes."""

    jax_replica_specs: Mapping[str, ReplicaSpec] = field(default_factory=dict[str, ReplicaSpec])


class TFJob(TrainingJob, frozen=True, kw_only=True):
    """TensorFlow training: workers, parameter servers, a chief, an evaluator."""

    resource: ClassVar = Resource(GROUP, VERSION, "TFJob", "tfjobs")

    spec: TFJobSpec = TFJobSpec()


class PyTorchJob(TrainingJob, frozen=True, kw_only=True):
    """PyTorch training: a master and workers, or workers alone."""

    resource: ClassVar = Resource(GROUP, VERSION, "PyTorchJob", "pytorchjobs")

    spec: PyTorchJobSpec = PyTorchJobSpec()


class XGBoostJob(TrainingJob, frozen=True, kw_only=True):
    """XGBoost training: a master that tracks, and workers."""

    resource: ClassVar = Resource(GROUP, VERSION, "XGBoostJob", "xgboostjobs")

    spec: XGBoostJobSpec = XGBoostJobSpec()


class PaddleJob(TrainingJob, frozen=True, kw_only=True):
    """PaddlePaddle training: collective, or with a parameter server as the master."""

    resource: ClassVar = Resource(GROUP, VERSION, "PaddleJob", "paddlejobs")

    spec: PaddleJobSpec = PaddleJobSpec()


class JAXJob(TrainingJob, frozen=True, kw_only=True):
    """JAX training: equal processes, the first of which coordinates."""

    resource: ClassVar = Resource(GROUP, VERSION, "JAXJob", "jaxjobs")

    spec: JAXJobSpec = JAXJobSpec()
