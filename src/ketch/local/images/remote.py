"""What an image has in which ``mpirun`` stands: a remote shell, which is how it starts processes in other pods.

``ssh`` comes first on the search path, ``sshd`` stands where Kubeflow's manifests start it, and both are this
platform's own (``ssh.py``), also where the machine has OpenSSH. Open MPI is told that root may run it: in a container
of its own nobody else is there to be harmed.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ketch.local.sandbox.spec import Mount

PROGRAMS = "/opt/ketch/remote"
"""First on the search path."""

SSHD = "/usr/sbin/sshd"
USER_HOME = "/home/mpiuser"
"""The home of Kubeflow's images for MPI, below which their manifests mount keys."""

_ROOT_MAY = (
    "OMPI_ALLOW_RUN_AS_ROOT",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
    "PRTE_ALLOW_RUN_AS_ROOT",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM",
)
_OPEN_MPI = "lib/libmpi.so.40"
_INTEL_MPI = "bin/hydra_bstrap_proxy"
_MLX_LOADS = "MLX_MPI_LIBNAME"
"""What MLX loads as MPI's library: a wheel has it under its full name alone."""

_INTERFACES = ("lo", "eth0")
"""A pod's. MPI's libraries look for them where Linux lists them."""

_SOURCE = Path(__file__).with_name("ssh.py")
_SCRIPT = '#!/bin/sh\nexec {python} -I {programs}/{source} {name} "$@"\n'


def launches_processes(environment: Path) -> bool:
    """Whether programs of the environment start others in other pods."""
    return (environment / "bin" / "mpirun").exists()


def variables(environment: Path, mount: str) -> Mapping[str, str]:
    """What such an image sets; the environment stands at ``mount``."""
    library = {_MLX_LOADS: f"{mount}/{_OPEN_MPI}"} if (environment / _OPEN_MPI).exists() else {}
    if (environment / _INTEL_MPI).exists():
        # Launchers give their address, not their name: that of a pod without a service nobody knows.
        library["I_MPI_HYDRA_IFACE"] = _INTERFACES[-1]
    # Launchers ask which shell they have, of users that no file of accounts knows.
    return {"SHELL": "/bin/sh", **dict.fromkeys(_ROOT_MAY, "1"), **library}


def remote_shell_mounts(python: str, folder: Path) -> Iterator[Mount]:
    """The mounts; the programs, which run under ``python``, are written below ``folder``."""
    programs = folder / "remote"
    programs.mkdir(parents=True, exist_ok=True, mode=0o755)
    _write(programs / _SOURCE.name, _SOURCE.read_text(), 0o644)
    for name in ("ssh", "sshd"):
        script = _SCRIPT.format(python=python, programs=PROGRAMS, source=_SOURCE.name, name=name)
        _write(programs / name, script, 0o755)
    yield Mount("ro-bind", PROGRAMS, str(programs))
    yield Mount("scratch", USER_HOME, mode=0o755)
    yield from (Mount("symlink", f"/sys/class/net/{name}", f"../../devices/virtual/net/{name}") for name in _INTERFACES)
    place = Path(os.path.realpath(SSHD))
    if not Path(SSHD).exists():
        # Where the machine has none, the folder must take one.
        place = Path(os.path.realpath(Path(SSHD).parent)) / Path(SSHD).name
        yield Mount("overlay", str(place.parent), str(place.parent))
    yield Mount("ro-bind", str(place), str(programs / "sshd"))


def _write(path: Path, content: str, mode: int) -> None:
    if path.exists() and path.read_text() == content:
        return
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(content)
    partial.chmod(mode)
    partial.replace(path)
