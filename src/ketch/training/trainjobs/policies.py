"""ML policies: what the processes of a TrainJob are told of each other. Pure; names and numbers are Trainer 2.3's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.kube.types.containers import Container, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceRequirements
from ketch.training.trainjobs.types import MLPolicy, TrainJob

PORT: Final = 29500
NODE: Final = "node"
"""The replicated job, and the container, that trains."""

INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"
_DEVICES: Final = ("nvidia.com/gpu", "amd.com/gpu", "google.com/tpu", "huawei.com/Ascend910")
_AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of one job: how many, how many processes on each, and how the first is reached."""

    job: TrainJob
    count: int
    trainer: Container
    replicated_job: str = NODE

    @property
    def first(self) -> str:
        """The first node's name within the namespace."""
        name = self.job.metadata.name
        return f"{name}-{self.replicated_job}-0-0.{name}"


Told = Callable[[Nodes], Sequence[EnvVar]]


def told_by(policy: MLPolicy | None) -> Told | None:
    """What the policy tells; None when its processes need to know nothing."""
    if policy is None:
        return None
    if policy.torch is not None:
        return torch
    if policy.jax is not None:
        return jax
    return xgboost if policy.xgboost is not None else None


def processes_of(nodes: Nodes) -> str:
    """Processes per node: the job's word, else a device each, else one for each whole CPU of the limit, else torchrun's
    own choice."""
    trainer = nodes.job.spec.trainer
    if trainer is not None and trainer.num_proc_per_node is not None:
        return str(trainer.num_proc_per_node)
    limits = nodes.trainer.resources.limits or nodes.trainer.resources.requests
    for device in _DEVICES:
        if device in limits:
            return str(limits[device])
    cpus = _whole(str(limits["cpu"])) if "cpu" in limits else 0
    return str(cpus) if cpus else _AUTO


def gpus_of(resources: ResourceRequirements) -> int:
    """How many devices a node has."""
    told = resources.limits or resources.requests
    return sum(_whole(str(amount)) for name, amount in told.items() if name in _DEVICES or "gpu" in name.lower())


def _whole(quantity: str) -> int:
    try:
        return int(parse_quantity(quantity))
    except QuantityError:
        return 0


def _index(name: str) -> EnvVar:
    source = ObjectFieldSelector(field_path=f"metadata.annotations['{INDEX_ANNOTATION}']")
    return EnvVar(name=name, value_from=EnvVarSource(field_ref=source))


def torch(nodes: Nodes) -> Sequence[EnvVar]:
    """Read by torchrun."""
    return (
        EnvVar(name="PET_NNODES", value=str(nodes.count)),
        EnvVar(name="PET_NPROC_PER_NODE", value=processes_of(nodes)),
        _index("PET_NODE_RANK"),
        EnvVar(name="PET_MASTER_ADDR", value=nodes.first),
        EnvVar(name="PET_MASTER_PORT", value=str(PORT)),
    )


def jax(nodes: Nodes) -> Sequence[EnvVar]:
    """Read by ``jax.distributed.initialize``."""
    return (
        EnvVar(name="JAX_NUM_PROCESSES", value=str(nodes.count)),
        _index("JAX_PROCESS_ID"),
        EnvVar(name="JAX_COORDINATOR_ADDRESS", value=f"{nodes.first}:{PORT}"),
    )


def xgboost(nodes: Nodes) -> Sequence[EnvVar]:
    """Read by XGBoost's collective and trackers."""
    return (
        EnvVar(name="DMLC_TRACKER_URI", value=nodes.first),
        EnvVar(name="DMLC_TRACKER_PORT", value=str(PORT)),
        _index("DMLC_TASK_ID"),
        EnvVar(name="DMLC_NUM_WORKER", value=str(nodes.count)),
    )


RESERVED: Final = frozenset({"PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"})
"""Variables of torchrun that are the policy's to set."""
