"""How ``mpirun`` learns which hosts there are, and how its remote shell gets in; by MPI implementation. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ketch.kube.types.containers import EnvVar
from ketch.kube.types.volumes import KeyToPath
from ketch.training.keys import PRIVATE_KEY, PUBLIC_KEY

OPEN_MPI, INTEL, MPICH = "OpenMPI", "Intel", "MPICH"
IMPLEMENTATIONS: Final = (OPEN_MPI, INTEL, MPICH)

FOLDER: Final = "/etc/mpi"
HOSTFILE: Final = "hostfile"
HOSTFILE_PATH: Final = f"{FOLDER}/{HOSTFILE}"
SSH_PATH: Final = "/root/.ssh"
"""Where keys are mounted that no other place is named for."""

KEY_FILES: Final = (
    KeyToPath(key=PRIVATE_KEY, path="id_rsa"),
    KeyToPath(key=PUBLIC_KEY, path="id_rsa.pub"),
    KeyToPath(key=PUBLIC_KEY, path="authorized_keys"),
)
"""A pair of keys as ssh and sshd look for it."""

_PATIENCE: Final = "-o ConnectionAttempts=10"


def _fixed(**values: str) -> Sequence[EnvVar]:
    return tuple(EnvVar(name=name, value=value) for name, value in values.items())


_OVER_SSH: Final[Mapping[str, Sequence[EnvVar]]] = {
    OPEN_MPI: _fixed(
        OMPI_MCA_orte_keep_fqdn_hostnames="true",
        OMPI_MCA_orte_default_hostfile=HOSTFILE_PATH,
        OMPI_MCA_plm_rsh_args=_PATIENCE,
        # The same for Open MPI 5, whose launcher has other names for them.
        PRTE_MCA_prte_keep_fqdn_hostnames="true",
        PRTE_MCA_prte_do_not_resolve="0",  # else a launcher that is a host does not know itself
        PRTE_MCA_prte_default_hostfile=HOSTFILE_PATH,
        PRTE_MCA_plm_ssh_args=_PATIENCE,
    ),
    INTEL: _fixed(I_MPI_HYDRA_HOST_FILE=HOSTFILE_PATH, I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS=_PATIENCE),
    MPICH: _fixed(HYDRA_HOST_FILE=HOSTFILE_PATH, HYDRA_LAUNCH_EXTRA_ARGS=_PATIENCE),
}
_SLOTS: Final = {OPEN_MPI: "OMPI_MCA_orte_set_default_slots", INTEL: "I_MPI_PERHOST"}


def over_exec(shell: str) -> Sequence[EnvVar]:
    """What a launcher is told whose remote shell is the script ``shell``."""
    return _fixed(
        OMPI_MCA_plm_rsh_agent=shell,
        OMPI_MCA_orte_default_hostfile=HOSTFILE_PATH,
        PRTE_MCA_plm_ssh_agent=shell,
        PRTE_MCA_prte_default_hostfile=HOSTFILE_PATH,
        I_MPI_HYDRA_BOOTSTRAP="rsh",
        I_MPI_HYDRA_BOOTSTRAP_EXEC=shell,
    )


def over_ssh(implementation: str, slots: int) -> Sequence[EnvVar]:
    """What a launcher is told that reaches others over ssh."""
    more = (EnvVar(name=_SLOTS[implementation], value=str(slots)),) if implementation in _SLOTS else ()
    return (*_OVER_SSH[implementation], *more)


def hostfile(hosts: Iterable[str], slots: int, implementation: str = OPEN_MPI) -> str:
    """Which hosts there are, and how many processes each takes."""
    ending = f" slots={slots}" if implementation == OPEN_MPI else f":{slots}"
    return "".join(f"{host}{ending}\n" for host in hosts)
