"""What is left to do when a container has ended and its keeper goes: done by one process for all, for nobody to wait.

The sweeper is a child of the zygote and outlives it: it ends with the last keeper that could ask.
"""

import os
import socket

from ketch.local.sandbox.records import EXIT, SCRATCH, make_durable, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LONGEST_PATH = 4096


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
    try:
        os.setsid()
        while path := requests.recv(LONGEST_PATH):
            _sweep(os.fsdecode(path))
    finally:
        os._exit(0)


def _sweep(directory: str) -> None:
    remove_tree(f"{directory}/{SCRATCH}")
    try:
        make_durable(f"{directory}/{EXIT}")
    except OSError:
        return  # its pod is forgotten already
