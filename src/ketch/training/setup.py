"""Puts training together: definitions, admissions, controllers."""

from collections.abc import Sequence
from typing import Any, Final

from ketch.kube.admission import Admission
from ketch.kube.definitions import AGE, Scale, definition_of
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.apiextensions import CustomResourceColumn
from ketch.kube.types.batch import Job
from ketch.kube.types.core import ConfigMap, Namespace, Service
from ketch.kube.types.pods import Pod
from ketch.training.jobs.admission import JobAdmission
from ketch.training.jobs.framework import JobKind
from ketch.training.jobs.kinds import KINDS
from ketch.training.jobs.reconciler import JobReconciler
from ketch.training.jobsets.admission import JobSetAdmission
from ketch.training.jobsets.reconciler import JobSetReconciler
from ketch.training.jobsets.types import JobSet
from ketch.training.trainjobs.admission import RuntimeAdmission, TrainJobAdmission
from ketch.training.trainjobs.reconciler import TrainJobReconciler
from ketch.training.trainjobs.runtimes import shipped
from ketch.training.trainjobs.types import ClusterTrainingRuntime, TrainingRuntime, TrainJob

MANAGER: Final = "ketch-training"
SYSTEM_NAMESPACE: Final = "kubeflow-system"
TRAINER_VERSION: Final = "v2.3.0"
"""The version of upstream's Trainer whose semantics are served."""

_STATE: Final = CustomResourceColumn(name="State", type="string", json_path=".status.conditions[-1:].type")


def admissions() -> Sequence[Admission[Any]]:
    """What decides about the kinds before they are stored."""
    runtimes = (RuntimeAdmission(TrainingRuntime), RuntimeAdmission(ClusterTrainingRuntime))
    return [*map(JobAdmission, KINDS), JobSetAdmission(), TrainJobAdmission(), *runtimes]


def _scale(kind: JobKind[Any]) -> Scale | None:
    role = kind.elastic_role
    if not role:
        return None
    status = f".status.replicaStatuses.{role}"
    return Scale(f".spec.{kind.replicas_path}.{role}.replicas", f"{status}.active", f"{status}.selector")


async def setup(manager: Manager) -> None:
    """Define the kinds and register their controllers. Raises APIError."""
    for kind in KINDS:
        definition = definition_of(kind.kind, columns=(_STATE, AGE), scale=_scale(kind))
        await manager.client.apply(definition, manager=MANAGER)
    pods, services = manager.informer(Pod), manager.informer(Service)
    for kind in KINDS:
        jobs = manager.informer(kind.kind)
        reconciler = JobReconciler(kind, manager)
        owned = (Owns(pods, kind.kind), Owns(services, kind.kind))
        manager.controller(f"training-{kind.kind.resource.plural}", reconciler, For(jobs), *owned)
    await _jobsets(manager)
    await _trainjobs(manager)


async def _trainjobs(manager: Manager) -> None:
    state = CustomResourceColumn(name="State", type="string", json_path='.status.conditions[?(@.status=="True")].type')
    for definition in (
        definition_of(TrainJob, columns=(state, AGE)),
        definition_of(TrainingRuntime),
        definition_of(ClusterTrainingRuntime),
    ):
        await manager.client.apply(definition, manager=MANAGER)
    for runtime in shipped():
        await manager.client.apply(runtime, manager=MANAGER, force=False)
    await _announce(manager)
    jobs, sets = manager.informer(TrainJob), manager.informer(JobSet)
    runtimes, of_cluster = manager.informer(TrainingRuntime), manager.informer(ClusterTrainingRuntime)
    reconciler = TrainJobReconciler(manager)
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


async def _jobsets(manager: Manager) -> None:
    columns = tuple(
        CustomResourceColumn(name=name, type=kind, json_path=path)
        for name, kind, path in (
            ("TerminalState", "string", ".status.terminalState"),
            ("Restarts", "string", ".status.restarts"),
            ("Completed", "string", '.status.conditions[?(@.type=="Completed")].status'),
            ("Suspended", "string", ".spec.suspend"),
        )
    )
    await manager.client.apply(definition_of(JobSet, columns=(*columns, AGE)), manager=MANAGER)
    sets, jobs = manager.informer(JobSet), manager.informer(Job)
    manager.controller("training-jobsets", JobSetReconciler(manager), For(sets), Owns(jobs, JobSet))
