"""Which process is meant: numbers are used again, identities are not."""

import os
import select
import signal
from pathlib import Path

_START = 19
"""Where field 22 of /proc/<pid>/stat, the start in ticks since boot, stands in what follows the command's name."""


def identity(pid: int) -> str | None:
    """What tells the process ``pid`` from all that had or will have its number; None when there is none now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{stat.rpartition(')')[2].split()[_START]}"


def kill(pid: int, who: str, seconds: float) -> bool:
    """End the process ``pid`` if it is still the one with that identity; False when it is there after ``seconds``."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if identity(pid) != who:
            return True
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return bool(select.select([descriptor], [], [], seconds)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)
