"""Programs of Debian's packages for tests: fetched once, unpacked beside the environment, installed nowhere.

Neither root nor what is installed on the machine matters; ``apt-get`` and ``dpkg-deb`` are all that is needed.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

KEPT = Path(__file__).parents[1] / ".bootstrap" / "debian"
PATIENCE = 300.0


def debian_program(package: str, path: str) -> Path:
    """The file ``path`` of a package."""
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = KEPT / package
    with (KEPT / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
                _fetch(package, Path(scratch))
                (Path(scratch) / "unpacked").rename(folder)
    return folder / path


def _fetch(package: str, scratch: Path) -> None:
    for name in ("lists/partial", "cache/archives/partial", "download"):
        (scratch / name).mkdir(parents=True)
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        pytest.fail(f"these tests need Debian's package {package}, and this machine has no {' and no '.join(missing)}")
    options = ("-q", "-o", f"Dir::State::Lists={scratch / 'lists'}", "-o", f"Dir::Cache={scratch / 'cache'}")
    for command in (("update",), ("download", package)):
        _run("apt-get", *options, "-o", "APT::Sandbox::User=", *command, folder=scratch / "download")
    archive = next((scratch / "download").glob("*.deb"))
    _run("dpkg-deb", "-x", str(archive), str(scratch / "unpacked"), folder=scratch)


def _run(*argv: str, folder: Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(argv)} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
