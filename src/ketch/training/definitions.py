"""The kinds of training, as CustomResourceDefinitions."""

from collections.abc import Sequence
from typing import Any, Final

from ketch.kube.definitions import AGE, Scale, definition_of
from ketch.kube.types.apiextensions import CustomResourceColumn, CustomResourceDefinition
from ketch.training.jobs.framework import JobKind
from ketch.training.jobs.kinds import KINDS
from ketch.training.jobs.mpi.definition import definition as mpijob_definition
from ketch.training.jobs.mpi.types import MPIJob
from ketch.training.jobsets.types import JobSet
from ketch.training.trainjobs.types import ClusterTrainingRuntime, TrainingRuntime, TrainJob

_STATE: Final = CustomResourceColumn(name="State", type="string", json_path=".status.conditions[-1:].type")
_JOBSET_COLUMNS: Final = tuple(
    CustomResourceColumn(name=name, type=kind, json_path=path)
    for name, kind, path in (
        ("TerminalState", "string", ".status.terminalState"),
        ("Restarts", "string", ".status.restarts"),
        ("Completed", "string", '.status.conditions[?(@.type=="Completed")].status'),
        ("Suspended", "string", ".spec.suspend"),
    )
)
_TRAINJOB_STATE: Final = CustomResourceColumn(
    name="State", type="string", json_path='.status.conditions[?(@.status=="True")].type'
)


def definitions() -> Sequence[CustomResourceDefinition]:
    """All of them."""
    return (
        *map(_of_jobs, KINDS),
        definition_of(JobSet, columns=(*_JOBSET_COLUMNS, AGE)),
        definition_of(TrainJob, columns=(_TRAINJOB_STATE, AGE)),
        definition_of(TrainingRuntime),
        definition_of(ClusterTrainingRuntime),
    )


def _of_jobs(kind: JobKind[Any]) -> CustomResourceDefinition:
    columns = (_STATE, AGE)
    if kind.kind is MPIJob:
        return mpijob_definition(columns)
    return definition_of(kind.kind, columns=columns, scale=_scale(kind))


def _scale(kind: JobKind[Any]) -> Scale | None:
    role = kind.elastic_role
    if not role:
        return None
    status = f".status.replicaStatuses.{role}"
    return Scale(f".spec.{kind.replicas_path}.{role}.replicas", f"{status}.active", f"{status}.selector")
