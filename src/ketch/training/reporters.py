"""Whose pods may report, and which rank and job a pod is of: what ``progress`` must know of both generations. Pure."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ketch.kube.meta import ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.types.pods import Pod
from ketch.training.jobs.desired import INDEX_LABEL, JOB_LABEL, OPERATOR_LABEL, TYPE_LABEL
from ketch.training.jobs.framework import JobKind
from ketch.training.jobs.mpi.ssh import OPERATOR
from ketch.training.jobs.mpi.types import MPIJob
from ketch.training.jobsets.desired import NAME_LABEL
from ketch.training.progress.recorder import Target
from ketch.training.progress.server import Reporting
from ketch.training.trainjobs.types import TrainJob

COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"


def reporting(kinds: Sequence[JobKind[Any]]) -> Sequence[Reporting]:
    """Every kind of job."""
    return [
        Reporting(TrainJob, rank_in_trainjob),
        *(Reporting(each.kind, partial(rank_in_job, each)) for each in kinds),
    ]


def rank_in_trainjob(job: TrainJob, pod: Pod) -> int | None:
    """The first rank on a node of a TrainJob."""
    index = pod.metadata.labels.get(COMPLETION_INDEX, "")
    processes = job.spec.trainer.num_proc_per_node if job.spec.trainer is not None else None
    return int(index) * (processes or 1) if index.isdigit() else None


def rank_in_job(kind: JobKind[Any], job: Any, pod: Pod) -> int | None:
    """The first rank in a pod of a kubeflow.org/v1 job: types count in their order, masters first."""
    role, index = kind.role_of(pod.metadata.labels.get(TYPE_LABEL, "")), pod.metadata.labels.get(INDEX_LABEL, "")
    if role is None or not index.isdigit():
        return None
    group = kind.understand(job)
    before = sum(group.count(each) for each in kind.roles[: list(kind.roles).index(role)])
    processes = str(getattr(job.spec, "nproc_per_node", ""))
    return (before + int(index)) * (int(processes) if processes.isdigit() else 1)


def job_of(kinds: Sequence[JobKind[Any]]) -> Callable[[Pod], Target | None]:
    """What says which job a pod belongs to."""
    known: Mapping[tuple[str, str], JobKind[Any]] = {
        (each.kind.resource.api_version, each.kind.resource.kind): each for each in kinds
    }

    def found(pod: Pod) -> Target | None:
        namespace = pod.metadata.namespace
        owner = controller_of(pod)
        if owner is not None and (kind := known.get((owner.api_version, owner.kind))) is not None:
            return Target(kind.kind, ObjectKey(namespace, owner.name))
        labels = pod.metadata.labels
        if labels.get(OPERATOR_LABEL) == OPERATOR and JOB_LABEL in labels:  # of a launcher's batch Job
            return Target(MPIJob, ObjectKey(namespace, labels[JOB_LABEL]))
        jobset = labels.get(NAME_LABEL, "")
        return Target(TrainJob, ObjectKey(namespace, jobset)) if jobset else None

    return found
