"""What is left to do when a container has ended and its keeper goes: done by one process for all, for nobody to wait.

The sweeper is a child of the zygote and outlives it: it ends with the last keeper that could ask.
"""

import os
import socket

from ketch.local.sandbox.namespaces import sync_file_system
from ketch.local.sandbox.records import EXIT, SCRATCH, make_durable, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

LONGEST_PATH = 4096
TOGETHER, MOST_TOGETHER = 0.2, 64
"""Seconds that nobody may have ended until the ends of those before are put on disk, and how many wait at most."""

FEW = 4
"""Ends that are put on disk one by one; of more, their file system as a whole is."""


def start() -> socket.socket:
    """Fork the sweeper: the way to it, for the zygote and its keepers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _serve(theirs)
    theirs.close()
    return ours


def settle(sweeper: socket.socket, directory: str, seen_at: "str | None" = None) -> None:
    """Have the container's end put on disk, and its writable layers removed.

    ``seen_at`` is where this process sees the directory, if not where everyone does. A machine that fails before takes
    the container along in any case: what is lost is how it ended.
    """
    try:
        sweeper.send(os.fsencode(directory), socket.MSG_DONTWAIT)
    except OSError:  # it is gone, or has too much to do
        if os.fork() == 0:
            _sweep(seen_at or directory)
            os._exit(0)


def _serve(requests: socket.socket) -> "NoReturn":
    """Remove what is left at once, and put ends on disk together: each alone would have the disk write twice."""
    ended: list[str] = []
    try:
        os.setsid()
        while True:
            requests.settimeout(TOGETHER if ended else None)
            try:
                path = os.fsdecode(requests.recv(LONGEST_PATH))
            except TimeoutError:
                path = ""
            if path:
                _remove(path)
                ended.append(path)
            if ended and (not path or len(ended) >= MOST_TOGETHER):
                _make_durable(ended)
                ended.clear()
            elif not path:
                break
    finally:
        os._exit(0)


def _sweep(directory: str) -> None:
    _remove(directory)
    _make_durable([directory])


def _remove(directory: str) -> None:
    remove_tree(f"{directory}/{SCRATCH}")


def _make_durable(directories: "Sequence[str]") -> None:
    for directory in directories:
        try:
            if len(directories) > FEW:
                _make_all_durable(directory)
                return
            make_durable(f"{directory}/{EXIT}")
        except OSError:
            continue  # its pod is forgotten already


def _make_all_durable(directory: str) -> None:
    """What was written to the file system on which the directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_file_system(descriptor)
    finally:
        os.close(descriptor)
