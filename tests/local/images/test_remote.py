"""What images have in which mpirun stands."""

import os
import subprocess
import sys
from pathlib import Path

from ketch.local.images.names import Recipe, find_recipe
from ketch.local.images.remote import PROGRAMS, launches_processes, remote_shell_mounts, variables


def test_only_environments_with_mpirun_get_a_remote_shell(tmp_path: Path):
    assert not launches_processes(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mpirun").touch()
    assert launches_processes(tmp_path)


def test_programs_stand_where_manifests_start_them(tmp_path: Path):
    mounts = {mount.target: mount for mount in remote_shell_mounts(sys.executable, tmp_path)}
    assert mounts[PROGRAMS].kind == "ro-bind"
    folder = Path(mounts[PROGRAMS].source)
    assert {path.name for path in folder.iterdir()} == {"ssh", "sshd", "ssh.py"}
    served = Path(os.path.realpath("/usr/sbin")) / "sshd"
    assert mounts[str(served)].source == str(folder / "sshd")
    assert os.access(folder / "ssh", os.X_OK)
    assert subprocess.run([folder / "ssh", "-V"], capture_output=True, check=False).returncode != 0  # not at its place
    again = {mount.target: mount for mount in remote_shell_mounts(sys.executable, tmp_path)}
    assert again == mounts


def test_open_mpi_may_run_as_root_and_mlx_finds_its_library(tmp_path: Path):
    assert variables(tmp_path, "/env")["OMPI_ALLOW_RUN_AS_ROOT"] == "1"
    assert "MLX_MPI_LIBNAME" not in variables(tmp_path, "/env")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmpi.so.40").touch()
    assert variables(tmp_path, "/env")["MLX_MPI_LIBNAME"] == "/env/lib/libmpi.so.40"


def test_intel_mpi_s_launchers_give_their_address(tmp_path: Path):
    assert "I_MPI_HYDRA_IFACE" not in variables(tmp_path, "/env")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hydra_bstrap_proxy").touch()
    assert variables(tmp_path, "/env")["I_MPI_HYDRA_IFACE"] == "eth0"


def test_images_of_mpi_mean_the_implementation_that_they_name():
    def requirements(image: str) -> tuple[str, ...]:
        found = find_recipe(image, ())
        assert found is not None
        return found.requirements

    assert "openmpi" in requirements("mpioperator/mpi-pi:openmpi")
    assert "openmpi" in requirements("mpioperator/base")
    assert "impi-rt" in requirements("mpioperator/mpi-pi:intel")
    assert "impi-rt" in requirements("mpioperator/intel:v0.6.0")
    assert "mpich" in requirements("docker.io/mpioperator/mpich-builder")
    assert {"deepspeed", "openmpi"} <= set(requirements("ghcr.io/kubeflow/trainer/deepspeed-runtime:v2.3.0"))
    assert {"mlx[cpu]", "openmpi"} <= set(requirements("ghcr.io/kubeflow/trainer/mlx-runtime"))
    assert "torchtune" in requirements("ghcr.io/kubeflow/trainer/torchtune-trainer")


def test_the_platform_delivers_kubectl_itself():
    argv = ("python3", "-m", "ketch.training.delivery")
    for image in ("kubeflow/kubectl-delivery:latest", "mpioperator/kubectl-delivery"):
        assert find_recipe(image, ()) == Recipe(argv=argv, own=True)
