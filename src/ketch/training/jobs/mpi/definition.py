"""MPIJob's definition: one resource, served in both versions. Pure."""

from collections.abc import Sequence

import msgspec

from ketch.kube.definitions import definition_of
from ketch.kube.types.apiextensions import CustomResourceColumn, CustomResourceDefinition
from ketch.training.jobs.mpi.types import MPIJob, MPIJobV2


def definition(columns: Sequence[CustomResourceColumn]) -> CustomResourceDefinition:
    """Kept in v1; nothing is converted, since both versions have the same fields."""
    first, second = (definition_of(kind, columns=columns) for kind in (MPIJob, MPIJobV2))
    others = tuple(msgspec.structs.replace(each, storage=False) for each in second.spec.versions)
    spec = msgspec.structs.replace(first.spec, versions=(*first.spec.versions, *others))
    return msgspec.structs.replace(first, spec=spec)
