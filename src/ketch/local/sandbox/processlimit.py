"""How many processes and threads a container may have: what the kernel lets the numbers of its PID namespace grow to.

Linux keeps ``kernel.pid_max`` for each PID namespace since 6.14. Before that a write would change it for the whole
machine: there nothing is written.
"""

import os

from ketch.local.sandbox.namespaces import CLONE_NEWPID, set_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

SETTING = "KETCH_POD_PIDS_LIMIT"
"""A kubelet's ``podPidsLimit``, here for each container of a pod; -1: no bound."""

DEFAULT = 4096
RESERVED = 300
"""The kernel does not give these lowest numbers a second time, and takes no bound below them."""

LARGEST = (1 << 22) - RESERVED
PID_MAX = "/proc/sys/kernel/pid_max"
OWN_SINCE = (6, 14)
TRIES = 10
"""A container may end the process that enters it to bound it, if it is quick."""


def kept_by_namespaces(release: str) -> bool:
    """Whether a kernel of this release keeps the bound for each PID namespace."""
    major, _, rest = release.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= OWN_SINCE


def process_limit(environment: "Mapping[str, str]") -> "int | None":
    """The bound that the administrator chose; None: there is none. Raises ValueError, which names the setting."""
    text = environment.get(SETTING, "").strip() or str(DEFAULT)
    if text == "-1":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST:
        raise ValueError(
            f'{SETTING}: Invalid value: "{text}": must be a number from 1 to {LARGEST}, or -1 for no bound'
        )
    return int(text)


def _content() -> bytes:
    """What the kernel is told; empty: nothing."""
    most = process_limit(os.environ)
    return b"%d" % (most + RESERVED) if most is not None and kept_by_namespaces(os.uname().release) else b""


def confine_own() -> None:
    """Bound the PID namespace of this process. Raises OSError."""
    if content := _content():
        file = os.open(PID_MAX, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, content)
        finally:
            os.close(file)


def confine(init: int) -> None:
    """Bound the PID namespace of another process, which may have ended."""
    if not _content():
        return
    for _ in range(TRIES):
        pid = os.fork()
        if pid == 0:
            _enter_and_confine(init)
        if os.waitpid(pid, 0)[1] == 0:
            return


def _enter_and_confine(init: int) -> "NoReturn":
    """Only who is in a namespace writes its bound, and who enters one is not in it: a child of its is."""
    code = 1
    try:
        set_namespace(os.pidfd_open(init), CLONE_NEWPID)
        within = os.fork()
        if within == 0:
            confine_own()
            code = 0
        else:
            code = os.waitpid(within, 0)[1] and 1
    except ProcessLookupError:
        code = 0
    except OSError as error:
        os.write(2, f"keeper: a container's processes are not bounded: {error}\n".encode())
        code = 0  # it would not go better the next time
    finally:
        os._exit(code)
