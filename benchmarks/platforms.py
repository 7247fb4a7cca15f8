"""A platform for one measurement: started in a directory of its own, stopped at the end."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MEBIBYTE = 1024 * 1024
READY = re.compile(r"Ready in ([0-9.]+) s")


@dataclass(frozen=True)
class Platform:
    """A running platform: where it keeps its data, where it answers, how long its start took (seconds)."""

    directory: Path
    address: str
    kubernetes: str
    ready_seconds: float

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def processes(self) -> Mapping[str, Any]:
        """What the supervisor says of its processes, and itself."""
        state = json.loads((self.directory / "run" / "supervisor.json").read_text())
        return {"supervisor": {"pid": state["pid"]}, **state["processes"]}

    def memory(self) -> Mapping[str, float]:
        """MiB (PSS) by process."""
        found = ((name, psutil.Process(each["pid"])) for name, each in self.processes().items())
        return {name: process.memory_full_info().pss / MEBIBYTE for name, process in found}

    def database_bytes(self) -> Mapping[str, int]:
        """Sizes of the databases, with what is still in their logs."""
        return {
            name: sum(path.stat().st_size for path in self.directory.glob(f"{name}*"))
            for name in ("kube.db", "platform.db")
        }


def ketch(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ketch.cli.main", *arguments]


@contextlib.contextmanager
def running_platform(directory: Path | None = None, *, warm: bool = True) -> Iterator[Platform]:
    """Start a platform on free ports; a ``directory`` given stays, one of its own is removed.

    Without ``warm`` no container's process comes from a warm interpreter.
    """
    root = directory or Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    command = ketch("up", "--data-dir", str(root), "--port", "0", "--api-port", "0", "--detach")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["KETCH_WARM"] = "1" if warm else "0"
    result = subprocess.run(command, check=False, text=True, capture_output=True, env=environment)
    if result.returncode:
        sys.exit(f"the platform did not start: {result.stderr}")
    found = READY.search(result.stdout)
    assert found, result.stdout
    state = json.loads((root / "run" / "supervisor.json").read_text())
    endpoints = state["endpoints"]
    try:
        yield Platform(root, endpoints["platform"], endpoints["kubernetes"], float(found[1]))
    finally:
        subprocess.run(ketch("down", "--data-dir", str(root)), check=False, capture_output=True)
        if directory is None:
            shutil.rmtree(root, ignore_errors=True)
