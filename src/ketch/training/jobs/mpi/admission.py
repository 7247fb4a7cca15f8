"""What an MPIJob must be before it is stored: the rules of its shape. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ketch.kube.admission import Admission, View
from ketch.kube.errors import Cause
from ketch.training.jobs.admission import JobAdmission
from ketch.training.jobs.mpi.exec import MPI
from ketch.training.jobs.mpi.ssh import MPIOverSSH
from ketch.training.jobs.mpi.types import AT_STARTUP, MPIJob
from ketch.training.mpirun import OPEN_MPI, SSH_PATH

_NO_SHAPE: Final[dict[str, Any]] = {
    "run_launcher_as_worker": None,
    "ssh_auth_mount_path": "",
    "launcher_creation_policy": "",
    "mpi_implementation": "",
}
_FILLED_IN: Final[dict[str, Any]] = {
    "run_launcher_as_worker": False,
    "ssh_auth_mount_path": SSH_PATH,
    "launcher_creation_policy": AT_STARTUP,
    "mpi_implementation": OPEN_MPI,
}
"""What the schema of v2beta1 adds to a job that says nothing of it."""


class MPIJobAdmission(Admission[MPIJob]):
    """Completes and checks MPIJobs of either shape."""

    kind = MPIJob

    def __init__(self) -> None:
        self._kinds = [(kind, JobAdmission(kind)) for kind in (MPI(), MPIOverSSH())]

    def complete(self, obj: MPIJob, old: MPIJob | None, view: View) -> MPIJob:  # noqa: ARG002
        """A job of the first shape stays one, also when it is written in the version of the other."""
        spec = obj.spec
        if old is None or old.spec.mpi_implementation:
            return obj
        if any(getattr(spec, name) != value for name, value in _FILLED_IN.items()):
            return obj
        slots = old.spec.slots_per_worker if spec.slots_per_worker == 1 else spec.slots_per_worker
        return msgspec.structs.replace(obj, spec=msgspec.structs.replace(spec, slots_per_worker=slots, **_NO_SHAPE))

    def check(self, obj: MPIJob, old: MPIJob | None, view: View) -> Iterable[Cause]:
        """What is wrong with the job."""
        for kind, admission in self._kinds:
            if kind.concerns(obj):
                yield from admission.check(obj, old, view)
