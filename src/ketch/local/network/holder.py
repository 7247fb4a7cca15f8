"""The holder: a process that keeps descriptors under names, so that they outlive the daemon that made them.

Run by path with the standard library alone (``python -I -S holder.py SOCKET PARENT``), in a session of its own. It
knows nothing of what it keeps. Requests and answers are packets: ``{"op": "put"|"drop"|"list", "key", "value"}`` with
the descriptor beside. Only a list is answered, by one packet per entry and an empty one: what was sent is in the
kernel's hands, and arrives also from a daemon that is killed the moment after.
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

PACKET = 1 << 17
BACKLOG = 16


class Store:
    """Descriptors, each with a text of its own, by name."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, int | None]] = {}

    def answer(self, connection: socket.socket) -> bool:
        """Answer one request; False when the other side has gone."""
        packet, descriptors, _, _ = socket.recv_fds(connection, PACKET, 1, socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return False
        request: dict[str, Any] = json.loads(packet)
        match request["op"]:
            case "put":
                self._drop(request["key"])
                self._entries[request["key"]] = (request["value"], descriptors[0] if descriptors else None)
            case "drop":
                self._drop(request["key"])
            case _:
                for key, (value, descriptor) in self._entries.items():
                    entry = json.dumps({"key": key, "value": value}).encode()
                    socket.send_fds(connection, [entry], [] if descriptor is None else [descriptor])
                connection.send(b"{}")
        return True

    def _drop(self, key: str) -> None:
        _, descriptor = self._entries.pop(key, ("", None))
        if descriptor is not None:
            os.close(descriptor)


def serve(listener: socket.socket) -> None:
    """Answer requests until the process is ended."""
    store, poll = Store(), select.poll()
    poll.register(listener, select.POLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                connections[connection.fileno()] = connection
                poll.register(connection, select.POLLIN)
                continue
            alive = False
            with contextlib.suppress(OSError):
                alive = store.answer(connections[descriptor])
            if not alive:
                poll.unregister(descriptor)
                connections.pop(descriptor).close()


def main() -> None:
    """Listen, tell the parent through standard output, and serve."""
    path, parent = Path(sys.argv[1]), int(sys.argv[2])
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0o077)
    if os.getppid() != parent:
        return  # killed meanwhile: the place belongs to the holder of whoever came after it
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    os.write(1, b"ready\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    serve(listener)


if __name__ == "__main__":
    main()
