"""A running platform as tests see it: through official clients alone (kubectl, kfp, the command line itself)."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(sys.executable).parent
PATIENCE = 60.0


@dataclass(frozen=True)
class Platform:
    """A running platform and the official clients' way to it."""

    root: Path
    address: str
    kubernetes: str

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    def record(self) -> dict[str, Any]:
        """What the supervisor says of its processes."""
        return json.loads((self.root / "run" / "supervisor.json").read_text())

    def pid(self, process: str) -> int:
        """The process id of one of the platform's processes, once it is ready."""
        found = eventually(lambda: (item := self.record()["processes"][process])["ready"] and item["pid"])
        return int(found)

    def ketch(self, *arguments: str, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a ``ketch`` command on this platform's data directory; what stands behind ``--`` is not the command's."""
        own = arguments.index("--") if "--" in arguments else len(arguments)
        command = [str(SCRIPTS / "ketch"), *arguments[:own], "--data-dir", str(self.root), *arguments[own:]]
        return subprocess.run(command, check=False, text=True, capture_output=True, timeout=timeout, **options)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints; a failure fails the test with kubectl's words."""
        result = self.kubectl_result(*arguments, stdin=stdin)
        if check and result.returncode:
            pytest.fail(f"kubectl {' '.join(arguments)}: {result.stderr}")
        return result.stdout

    def kubectl_result(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return whatever came of it."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.root / "kubectl-home")}
        command = [str(SCRIPTS / "kubectl"), *arguments]
        return subprocess.run(
            command, check=False, text=True, capture_output=True, input=stdin, env=environment, timeout=120
        )

    def get(self, *arguments: str) -> dict[str, Any]:
        """``kubectl get ... -o json``."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any], **options: str) -> str:
        """``kubectl apply`` of objects given as JSON."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return self.kubectl("apply", *flags, "-f", "-", stdin="\n---\n".join(map(json.dumps, documents)))


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "") -> Any:
    """Wait until ``condition()`` is true and return what it gave; fails the test after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what or condition}")
        time.sleep(0.05)


def start_platform(root: Path, somehow: Callable[[list[str]], list[str]] = list) -> Platform:
    """`ketch up --detach` on free ports; ``somehow`` wraps the command."""
    command = [str(SCRIPTS / "ketch"), "up", "--detach", "--data-dir", str(root), "--port", "0", "--api-port", "0"]
    result = subprocess.run(somehow(command), check=False, text=True, capture_output=True, timeout=120)
    if result.returncode:
        logs = "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in (root / "logs").glob("*.log"))
        pytest.fail(f"ketch up: {result.stdout}{result.stderr}\n{logs}")
    endpoints = json.loads((root / "run" / "supervisor.json").read_text())["endpoints"]
    return Platform(root, endpoints["platform"], endpoints["kubernetes"])
