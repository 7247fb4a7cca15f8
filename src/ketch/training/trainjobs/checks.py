"""What a TrainJob must be beside its runtime's policy. Pure."""

from collections.abc import Iterable

from ketch.kube.causes import invalid
from ketch.kube.errors import Cause
from ketch.training.trainjobs import torchtune
from ketch.training.trainjobs.assembly import nodes_of, trainer_container
from ketch.training.trainjobs.mpi import LAUNCHER
from ketch.training.trainjobs.policies import NODE, Nodes
from ketch.training.trainjobs.types import TrainingRuntimeSpec, TrainJob


def check_policy(job: TrainJob, runtime: TrainingRuntimeSpec) -> Iterable[Cause]:
    """What is wrong with the job under that policy."""
    policy = runtime.ml_policy
    if policy is None:
        return
    count = nodes_of(job, runtime)
    if policy.mpi is not None and policy.mpi.run_launcher_as_node and count > 1:
        names = {each.name for each in runtime.template.spec.replicated_jobs}
        if not {LAUNCHER, NODE} <= names:
            message = (
                "must be 1 when an MPI runtime with runLauncherAsNode has not both replicated jobs, launcher and node"
            )
            yield invalid("spec.trainer.numNodes", count, message)
    container = trainer_container(job, runtime)
    if policy.torch is not None and container is not None:
        nodes = Nodes(job, count, container)
        if torchtune.is_torchtune(nodes):
            yield from torchtune.check(nodes)
