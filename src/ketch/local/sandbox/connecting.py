"""A connection to a port of a container, made where the container is: what listens on its loopback is reached too."""

import os
import socket

from ketch.local.processes import open_process
from ketch.local.sandbox.namespaces import CLONE_NEWNET, set_namespace
from ketch.local.sandbox.records import STARTED, read_record
from ketch.local.sandbox.wire import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.local.sandbox.wire import ConnectRequest

LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
PATIENCE = 10.0


def connect(answer_to: socket.socket, request: "ConnectRequest") -> None:
    """Connect, and send the connection along with the answer."""
    try:
        started = read_record(f"{request['directory']}/{STARTED}")
    except FileNotFoundError:
        message = f"no container was started in {request['directory']}"
        send(answer_to, {"error": "NotStarted", "message": message})
        return
    target = open_process(started["init"], started["init_ticks"])
    if target is None:
        send(answer_to, {"error": "NotRunning", "message": "the container has ended"})
        return
    try:
        if os.stat(f"/proc/{started['init']}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino:  # noqa: PTH116
            set_namespace(target, CLONE_NEWNET)
    except OSError as error:
        send(answer_to, {"error": "NotRunning", "message": f"the container cannot be entered: {error}"})
        return
    complaint = ""
    for family, address in LOOPBACK:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE)
        try:
            connection.connect((address, request["port"]))
        except OSError as error:
            connection.close()
            why = "timed out" if error.errno is None else os.strerror(error.errno).lower()
            complaint = complaint or f"dial tcp {address}:{request['port']}: connect: {why}"
        else:
            send(answer_to, {}, (connection.fileno(),))
            return
    send(answer_to, {"error": "NotConnected", "message": complaint})
