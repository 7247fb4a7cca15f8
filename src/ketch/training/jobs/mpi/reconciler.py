"""The reconciler of MPIJobs whose launcher is a batch Job: the framework's, which looks after that Job as well."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.types.batch import Job
from ketch.kube.types.pods import Pod
from ketch.training.equipment import Equipment
from ketch.training.jobs.decisions import Decision
from ketch.training.jobs.desired import JOB_LABEL, OPERATOR_LABEL
from ketch.training.jobs.framework import Group
from ketch.training.jobs.mpi.launching import Launcher, decide
from ketch.training.jobs.mpi.ssh import OPERATOR, MPIOverSSH
from ketch.training.jobs.reconciler import JobReconciler


class LauncherReconciler(JobReconciler):
    """Reconciles MPIJobs of version v2beta1."""

    def __init__(self, kind: MPIOverSSH, manager: Manager, equipment: Equipment | None = None) -> None:
        super().__init__(kind, manager, equipment)
        self._over_ssh, self._launchers = kind, manager.informer(Job)

    def _decide(self, group: Group[Any], uid: str, now: datetime) -> Decision:
        job = next(iter(self._launchers.owned_by(uid)), None)
        launcher = Launcher(job, self._pods.owned_by(job.metadata.uid) if job else ())
        return decide(self._over_ssh, group, self._pods.owned_by(uid), launcher, now)


def of_launcher(pod: Pod) -> Iterable[ObjectKey]:
    """The MPIJob whose pod it is, also by way of the launcher's Job."""
    labels = pod.metadata.labels
    if labels.get(OPERATOR_LABEL) == OPERATOR and JOB_LABEL in labels:
        yield ObjectKey(pod.metadata.namespace, labels[JOB_LABEL])
