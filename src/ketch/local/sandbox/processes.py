"""Processes by number, safe against numbers used again."""

import os
import signal

STARTTIME = 19
"""Where field 22 of /proc/<pid>/stat stands in what follows the command's name."""


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none of that number."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # pathlib is not loaded in keepers
            stat = file.read()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[STARTTIME])


def open_process(pid: int, ticks: int) -> int | None:
    """A pidfd of the process ``pid`` that started at ``ticks``; None when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if start_ticks(pid) == ticks:
        return descriptor
    os.close(descriptor)
    return None


def send_signal(pid: int, ticks: int, number: int) -> None:
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


def children(pid: int) -> list[int]:
    """The children of the process's first thread; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:  # noqa: PTH123
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
