"""kubectl port-forward, as tests use it."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator

from tests.e2e.platforms import SCRIPTS, Platform


@contextlib.contextmanager
def forwarded(platform: Platform, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """kubectl port-forward, and the port on which it listens."""
    environment = {**os.environ, "KUBECONFIG": str(platform.kubeconfig)}
    command = [str(SCRIPTS / "kubectl"), "port-forward", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"127.0.0.1:(\d+) ->", process.stdout.readline())
        assert found
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
