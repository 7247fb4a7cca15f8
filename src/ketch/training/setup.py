"""Puts training together: definitions, admissions, controllers."""

from collections.abc import Sequence
from typing import Any, Final

from ketch.kube.admission import Admission
from ketch.kube.doors import Door
from ketch.kube.installation import Install, apply_all
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.autoscaling import HorizontalPodAutoscaler
from ketch.kube.types.batch import Job
from ketch.kube.types.core import ConfigMap, Namespace, Service
from ketch.kube.types.pods import Pod
from ketch.training.definitions import definitions
from ketch.training.equipment import Equipment
from ketch.training.jobs.admission import JobAdmission
from ketch.training.jobs.kinds import KINDS
from ketch.training.jobs.mpi.admission import MPIJobAdmission
from ketch.training.jobs.mpi.reconciler import LauncherReconciler, of_launcher
from ketch.training.jobs.mpi.ssh import MPIOverSSH
from ketch.training.jobs.mpi.types import MPIJob
from ketch.training.jobs.reconciler import JobReconciler
from ketch.training.jobsets.admission import JobSetAdmission
from ketch.training.jobsets.reconciler import JobSetReconciler
from ketch.training.jobsets.types import JobSet
from ketch.training.metrics import TrainingMetrics
from ketch.training.progress.recorder import ProgressRecorder
from ketch.training.progress.server import StatusServer
from ketch.training.progress.telling import StatusAddress
from ketch.training.progress.usage import UsageSampler
from ketch.training.reporters import job_of, reporting
from ketch.training.trainjobs.admission import RuntimeAdmission, TrainJobAdmission
from ketch.training.trainjobs.reconciler import TrainJobReconciler
from ketch.training.trainjobs.runtimes import shipped
from ketch.training.trainjobs.types import ClusterTrainingRuntime, TrainingRuntime, TrainJob

MANAGER: Final = "ketch-training"
SYSTEM_NAMESPACE: Final = "kubeflow-system"
TRAINER_VERSION: Final = "v2.3.0"
"""The version of upstream's Trainer whose semantics are served."""


def admissions() -> Sequence[Admission[Any]]:
    """What decides about the kinds before they are stored."""
    runtimes = (RuntimeAdmission(TrainingRuntime), RuntimeAdmission(ClusterTrainingRuntime))
    jobs = [JobAdmission(kind) for kind in KINDS if kind.kind is not MPIJob]
    return [*jobs, MPIJobAdmission(), JobSetAdmission(), TrainJobAdmission(), *runtimes]


async def setup(manager: Manager, address: StatusAddress | None = None, install: Install = apply_all) -> Door:
    """Define the kinds, register their controllers; the status endpoint is the door. Raises APIError, and what
    ``install`` raises.

    ``address`` is where jobs' processes reach it; None where nobody opens it.
    """
    equipment = Equipment(address)
    await install(manager.client, definitions(), MANAGER)
    pods, services, files = manager.informer(Pod), manager.informer(Service), manager.informer(ConfigMap)
    autoscalers = manager.informer(HorizontalPodAutoscaler)
    for kind in KINDS:
        jobs = manager.informer(kind.kind)
        reconciler = JobReconciler(kind, manager, equipment)
        owned = (Owns(pods, kind.kind), Owns(services, kind.kind), Owns(files, kind.kind), Owns(autoscalers, kind.kind))
        manager.controller(f"training-{kind.kind.resource.plural}", reconciler, For(jobs), *owned)
    over_ssh = LauncherReconciler(MPIOverSSH(), manager, equipment)
    owned = (Owns(manager.informer(Job), MPIJob), Owns(services, MPIJob), Owns(files, MPIJob))
    watches = (For(manager.informer(MPIJob)), Maps(pods, of_launcher), *owned)
    manager.controller("training-mpijobs-over-ssh", over_ssh, *watches)
    _jobsets(manager)
    await _trainjobs(manager, equipment)
    _count(manager)
    return _progress(manager)


def _count(manager: Manager) -> None:
    metrics = TrainingMetrics(manager.metrics, manager.clock.now())
    for kind in KINDS:
        metrics.watch_jobs(kind, manager.informer(kind.kind))
    metrics.watch_jobsets(manager.informer(JobSet))


def _progress(manager: Manager) -> Door:
    """What keeps jobs' progress in their statuses."""
    client, clock, pods = manager.client, manager.clock, manager.informer(Pod)
    recorder = ProgressRecorder(client, clock)
    jobs = [manager.informer(kind) for kind in (TrainJob, *(each.kind for each in KINDS))]
    manager.add(UsageSampler(client, clock, pods, jobs, job_of(KINDS), recorder).run)
    return StatusServer(client, recorder, reporting(KINDS))


async def _trainjobs(manager: Manager, equipment: Equipment) -> None:
    for runtime in shipped():
        await manager.client.apply(runtime, manager=MANAGER, force=False)
    await _announce(manager)
    jobs, sets = manager.informer(TrainJob), manager.informer(JobSet)
    runtimes, of_cluster = manager.informer(TrainingRuntime), manager.informer(ClusterTrainingRuntime)
    reconciler = TrainJobReconciler(manager, equipment)
    made_from = (Maps(runtimes, reconciler.waiting_for), Maps(of_cluster, reconciler.waiting_for))
    manager.controller("training-trainjobs", reconciler, For(jobs), Owns(sets, TrainJob), *made_from)


async def _announce(manager: Manager) -> None:
    """What clients look up to learn which Trainer they talk to."""
    await manager.client.apply(Namespace(metadata=ObjectMeta(name=SYSTEM_NAMESPACE)), manager=MANAGER)
    public = ConfigMap(
        metadata=ObjectMeta(name="kubeflow-trainer-public", namespace=SYSTEM_NAMESPACE),
        data={"kubeflow_trainer_version": TRAINER_VERSION},
    )
    await manager.client.apply(public, manager=MANAGER)


def _jobsets(manager: Manager) -> None:
    sets, jobs = manager.informer(JobSet), manager.informer(Job)
    manager.controller("training-jobsets", JobSetReconciler(manager), For(sets), Owns(jobs, JobSet))
