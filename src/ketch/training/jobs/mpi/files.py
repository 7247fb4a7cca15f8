"""The scripts that a job's pods find beside the hostfile. Pure."""

from collections.abc import Sequence
from typing import Final

from ketch.training.mpirun import FOLDER

DISCOVER, KUBEXEC = "discover_hosts.sh", "kubexec.sh"
KUBECTL_FOLDER: Final = "/opt/kube"
KUBEXEC_PATH: Final = f"{FOLDER}/{KUBEXEC}"


def discover_hosts(hosts: Sequence[str]) -> str:
    """The script by which elastic Horovod learns which hosts there are now."""
    return "".join(["#!/bin/sh\n", *(f"echo {host}\n" for host in hosts)])


def kubexec(container: str = "") -> str:
    """The remote shell that runs a command in another pod through the API."""
    chosen = f" --container {container}" if container else ""
    exec_ = f'{KUBECTL_FOLDER}/kubectl exec ${{POD_NAME}}{chosen} -- /bin/sh -c "$*"'
    return f"#!/bin/sh\nset -x\nPOD_NAME=$1\nshift\n{exec_}"
