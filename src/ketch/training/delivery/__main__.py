"""``python -m ketch.training.delivery``: puts ``kubectl`` into ``$TARGET_DIR``, and ends when the workers are ready."""

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ketch.training.delivery import kubectl
from ketch.training.delivery.kubectl import Cluster, Refusal
from ketch.training.jobs.mpi.files import KUBECTL_FOLDER
from ketch.training.mpirun import HOSTFILE_PATH

INTERVAL: Final = 0.2
_SCRIPT: Final = '#!/bin/sh\nexec python3 -I "$(dirname "$0")/kubectl.py" "$@"\n'
_PROGRAM: Final = Path(kubectl.__file__)


def deliver(folder: Path) -> None:
    """A program and what starts it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_PROGRAM, folder / "kubectl.py")
    script = folder / "kubectl"
    script.write_text(_SCRIPT)
    script.chmod(0o755)


def hosts(hostfile: Path, own: str) -> Sequence[str]:
    """The other pods that the hostfile names."""
    names = [line.split()[0] for line in hostfile.read_text().splitlines() if line.split()]
    return [name for name in names if name != own]


def is_ready(pod: Any) -> bool:
    """Whether commands may be run in it."""
    if pod is None:
        return False
    conditions: Sequence[Mapping[str, str]] = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def wait(cluster: Cluster, namespace: str, names: Sequence[str]) -> None:
    """Until all of them are ready. Raises Refusal."""
    for name in names:
        told = False
        while not is_ready(cluster.get(f"/api/v1/namespaces/{namespace}/pods/{name}")):
            if not told:
                told = True
                print(f"waiting for pod {name}", flush=True)  # noqa: T201  # the container's log
            time.sleep(INTERVAL)


def main() -> None:
    """Exit code 1, and a sentence, when it cannot be done."""
    try:
        deliver(Path(os.environ.get("TARGET_DIR", KUBECTL_FOLDER)))
        cluster = Cluster()
        namespace = os.environ.get("NAMESPACE") or cluster.namespace
        wait(cluster, namespace, hosts(Path(HOSTFILE_PATH), os.uname().nodename))
    except (Refusal, OSError) as problem:
        sys.exit(f"kubectl-delivery: {problem}")


if __name__ == "__main__":
    main()
