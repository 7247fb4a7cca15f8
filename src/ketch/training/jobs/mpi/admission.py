"""What an MPIJob must be before it is stored: the rules of its shape. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ketch.kube.admission import Admission, View
from ketch.kube.errors import Cause
from ketch.training.jobs.admission import JobAdmission
from ketch.training.jobs.mpi.exec import MPI
from ketch.training.jobs.mpi.ssh import MPIOverSSH
from ketch.training.jobs.mpi.types import MPIJob

_NO_SHAPE: Final[dict[str, Any]] = {
    "run_launcher_as_worker": None,
    "ssh_auth_mount_path": "",
    "launcher_creation_policy": "",
    "mpi_implementation": "",
}


class MPIJobAdmission(Admission[MPIJob]):
    """Completes and checks MPIJobs of either shape."""

    kind = MPIJob

    def __init__(self) -> None:
        self._kinds = [(kind, JobAdmission(kind)) for kind in (MPI(), MPIOverSSH())]

    def complete(self, obj: MPIJob, old: MPIJob | None, view: View) -> MPIJob:  # noqa: ARG002
        """A job of the first shape stays one, also when it is written in the version of the other."""
        if old is None or old.spec.mpi_implementation or not obj.spec.mpi_implementation:
            return obj
        given = msgspec.structs.replace(obj.spec, **_NO_SHAPE)
        slots = old.spec.slots_per_worker if obj.spec.slots_per_worker == 1 else obj.spec.slots_per_worker
        return msgspec.structs.replace(obj, spec=msgspec.structs.replace(given, slots_per_worker=slots))

    def check(self, obj: MPIJob, old: MPIJob | None, view: View) -> Iterable[Cause]:
        """What is wrong with the job."""
        for kind, admission in self._kinds:
            if kind.concerns(obj):
                yield from admission.check(obj, old, view)
