"""MPIJob, declared once for both versions in which it is served: both have all fields, so that neither loses any."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, field

from ketch.kube.meta import Resource
from ketch.training.jobs.types import GROUP, VERSION, Count, JobSpec, ReplicaSpec, TrainingJob
from ketch.training.mpirun import OPEN_MPI, SSH_PATH

LAUNCHER, WORKER = "Launcher", "Worker"
AT_STARTUP, WHEN_READY = "AtStartup", "WaitForWorkersReady"
V2: Final = "v2beta1"

CreationPolicy = Literal["", "AtStartup", "WaitForWorkersReady"]
Implementation = Literal["", "OpenMPI", "Intel", "MPICH"]


class MPIJobSpec(JobSpec, frozen=True, kw_only=True):
    """A launcher and its workers; the last five fields are of version v2beta1."""

    slots_per_worker: Count | None = None
    clean_pod_policy: Literal["", "None", "Running", "All"] = ""
    main_container: str = ""
    mpi_replica_specs: Mapping[str, ReplicaSpec] = field(default_factory=dict[str, ReplicaSpec])
    run_launcher_as_worker: bool | None = None
    ssh_auth_mount_path: str = ""
    launcher_creation_policy: CreationPolicy = ""
    mpi_implementation: Implementation = ""


class MPIJob(TrainingJob, frozen=True, kw_only=True):
    """MPI processes: a launcher that runs mpirun, and workers."""

    resource: ClassVar = Resource(GROUP, VERSION, "MPIJob", "mpijobs")

    spec: MPIJobSpec = MPIJobSpec()


def _default(value: object) -> Meta:
    return Meta(extra_json_schema={"default": value})


class MPIJobV2Spec(MPIJobSpec, frozen=True, kw_only=True):
    """A launcher and its workers."""

    slots_per_worker: Annotated[Count | None, _default(1)] = None
    run_launcher_as_worker: Annotated[bool | None, _default(value=False)] = None
    ssh_auth_mount_path: Annotated[str, _default(SSH_PATH)] = ""
    launcher_creation_policy: Annotated[CreationPolicy, _default(AT_STARTUP)] = ""
    mpi_implementation: Annotated[Implementation, _default(OPEN_MPI)] = ""


class MPIJobV2(TrainingJob, frozen=True, kw_only=True):
    """MPI processes: a launcher that runs mpirun, and workers that it reaches over ssh."""

    resource: ClassVar = Resource(GROUP, V2, "MPIJob", "mpijobs")

    spec: MPIJobV2Spec = MPIJobV2Spec()
