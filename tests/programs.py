"""Programs of the platform, started as its supervisor would: they say themselves when they are ready."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from ketch.local.program import READY_FD


def start_program(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start ``argv`` and return when it is ready; ``environment`` stands in for this process's own."""
    told, tell = os.pipe()
    variables = {**(os.environ if environment is None else environment), READY_FD: str(tell)}
    process = subprocess.Popen(argv, pass_fds=(tell,), env=variables)
    os.close(tell)
    ready = os.read(told, 16)
    os.close(told)
    assert ready == b"ready\n", f"{argv} ended before it was ready"
    return process
