"""The files that a job's pods find below ``/etc/mpi``. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from ketch.training.jobs.mpi.types import OPEN_MPI

FOLDER: Final = "/etc/mpi"
HOSTFILE, DISCOVER, KUBEXEC = "hostfile", "discover_hosts.sh", "kubexec.sh"
KUBECTL_FOLDER: Final = "/opt/kube"
HOSTFILE_PATH: Final = f"{FOLDER}/{HOSTFILE}"
KUBEXEC_PATH: Final = f"{FOLDER}/{KUBEXEC}"


def hostfile(hosts: Iterable[str], slots: int, implementation: str = OPEN_MPI) -> str:
    """Which hosts there are, and how many processes each takes, as the MPI implementation reads it."""
    ending = f" slots={slots}" if implementation == OPEN_MPI else f":{slots}"
    return "".join(f"{host}{ending}\n" for host in hosts)


def discover_hosts(hosts: Sequence[str]) -> str:
    """The script by which elastic Horovod learns which hosts there are now."""
    return "".join(["#!/bin/sh\n", *(f"echo {host}\n" for host in hosts)])


def kubexec(container: str = "") -> str:
    """The remote shell that runs a command in another pod through the API."""
    chosen = f" --container {container}" if container else ""
    exec_ = f'{KUBECTL_FOLDER}/kubectl exec ${{POD_NAME}}{chosen} -- /bin/sh -c "$*"'
    return f"#!/bin/sh\nset -x\nPOD_NAME=$1\nshift\n{exec_}"
