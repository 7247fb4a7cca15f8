"""Puts training together: definitions, admissions, controllers."""

from collections.abc import Sequence
from typing import Any, Final

from ketch.kube.admission import Admission
from ketch.kube.definitions import AGE, Scale, definition_of
from ketch.kube.manager import For, Manager, Owns
from ketch.kube.types.apiextensions import CustomResourceColumn
from ketch.kube.types.batch import Job
from ketch.kube.types.core import Service
from ketch.kube.types.pods import Pod
from ketch.training.jobs.admission import JobAdmission
from ketch.training.jobs.framework import JobKind
from ketch.training.jobs.kinds import KINDS
from ketch.training.jobs.reconciler import JobReconciler
from ketch.training.jobsets.admission import JobSetAdmission
from ketch.training.jobsets.reconciler import JobSetReconciler
from ketch.training.jobsets.types import JobSet

MANAGER: Final = "ketch-training"
_STATE: Final = CustomResourceColumn(name="State", type="string", json_path=".status.conditions[-1:].type")


def admissions() -> Sequence[Admission[Any]]:
    """What decides about the kinds before they are stored."""
    return [*map(JobAdmission, KINDS), JobSetAdmission()]


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
