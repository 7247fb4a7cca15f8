"""Processes by number, safe against numbers used again.

Keepers carry this module in memory, one for each container: it imports next to nothing.
"""

import os
import signal

STATE, SESSION, START_TIME = 0, 3, 19
"""Where /proc/<pid>/stat has state, session and start, in what follows the command's name."""

PROC = "/proc"
"""Where processes are seen; a process in a namespace of its own sees others by where they were seen before it."""

ENDED = (b"Z", b"X")
"""States of processes that have ended and that nobody has waited for."""


def boot() -> str:
    """Which start of the machine this is: process numbers of another one mean nothing."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123  # pathlib is not loaded in keepers
        return file.read().strip()


def _fields(pid: int, proc: str = PROC) -> list[bytes] | None:
    """What /proc/<pid>/stat says behind the command's name; None when there is no such process, or it has ended."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:  # noqa: PTH123  # pathlib is not loaded in keepers
            stat = file.read()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[STATE] in ENDED else fields


def start_ticks(pid: int, proc: str = PROC) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none of that number, or it has ended."""
    fields = _fields(pid, proc)
    return None if fields is None else int(fields[START_TIME])


def session_members(leader: int) -> list[int]:
    """The living processes of the session that ``leader`` began."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # pathlib is not loaded in keepers
    return [pid for pid in pids if (fields := _fields(pid)) is not None and int(fields[SESSION]) == leader]


def open_process(pid: int, ticks: int | None) -> int | None:
    """A pidfd of the process ``pid`` that started at ``ticks``; None when it is gone."""
    if ticks is None:  # it had ended before its start was looked at
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if start_ticks(pid) == ticks:
        return descriptor
    os.close(descriptor)
    return None


def send_signal(pid: int, ticks: int | None, number: int) -> None:
    """Signal the process ``pid`` that started at ``ticks``; nothing happens when it is gone."""
    descriptor = open_process(pid, ticks)
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def children(pid: int, proc: str = PROC) -> list[int]:
    """The children of the process's first thread; empty when it is gone."""
    try:
        with open(f"{proc}/{pid}/task/{pid}/children", "rb") as file:  # noqa: PTH123
            return [int(number) for number in file.read().split()]
    except OSError:
        return []


def program(pid: int) -> tuple[int, int] | None:
    """Which file the process executes (device and inode); None when it is gone or ends right now."""
    try:
        status = os.stat(f"/proc/{pid}/exe")  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino
