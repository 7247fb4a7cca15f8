"""Which process is meant: numbers are used again, identities are not."""

import os
import select
import signal

from ketch.local.processes import boot, start_ticks


def identity(pid: int) -> str | None:
    """What tells the process ``pid`` from all that had or will have its number; None when there is none now.

    A process that has ended is gone, also where nobody has waited for it.
    """
    ticks = start_ticks(pid)
    return None if ticks is None else f"{boot()}/{ticks}"


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
