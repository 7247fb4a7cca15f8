"""Warm interpreters as processes: each is a child of its nursery, a process of the zygote's, and ends with it.

The nursery serves at a socket that is put in place when the template is ready and removed when it has ended: who finds
none starts a container the ordinary way.
"""

import fcntl
import json
import os
import signal
import socket

from ketch.local.processes import start_ticks
from ketch.local.sandbox.bubblewrap import Refused
from ketch.local.sandbox.mounting import Root, available, furnish
from ketch.local.sandbox.namespaces import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWUTS, close_from, die_with_parent, unshare
from ketch.local.sandbox.nursery import Nursery
from ketch.local.sandbox.records import remove_tree, write_record
from ketch.local.sandbox.template import LISTENER, REPORT, REPORT_SUFFIX
from ketch.local.sandbox.warm import Nest
from ketch.local.sandbox.wire import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ketch.local.sandbox.wire import TemplateRequest

FAILED = 125
CHUNK = 1 << 16
BACKLOG = 512
DEFAULT_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


def sustain(connection: socket.socket, request: "TemplateRequest", sweeper: socket.socket) -> None:
    """Start a template, answer when it is ready, and make inits for its containers until it ends."""
    die_with_parent()
    place = request["socket"]
    above = os.path.dirname(place)  # noqa: PTH120  # pathlib is not loaded in keepers
    os.makedirs(above, mode=0o700, exist_ok=True)  # noqa: PTH103
    lock = os.open(f"{place}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        send(connection, {"error": "AlreadyStarted", "message": f"a template at {place} is there or about to be"})
        return
    if not available():
        refuse(connection, "this machine's kernel cannot prepare mounts")
        return
    way, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pid, report = start(request, theirs)
    if report is None:
        os.waitpid(pid, 0)
        refuse(connection, f"the template did not get ready: {request['log']} says why")
        return
    write_record(f"{place}{REPORT_SUFFIX}", {"pid": pid, "ticks": start_ticks(pid), **report}, durable=False)
    listener = listen(place)
    try:
        send(connection, {"pid": pid})
    except OSError:
        pass  # whoever asked is gone: others find the socket
    finally:
        connection.close()
    told, tell = os.pipe()
    # On a directory that is there and that no mount comes from: an init alone sees what stands on it.
    nest = Nest((listener.fileno(), way.fileno(), tell, sweeper.fileno()), above, request["furniture"])
    try:
        Nursery(pid, way, nest, told).serve()
    finally:
        os.unlink(place)  # noqa: PTH108


def listen(place: str) -> socket.socket:
    """A socket at that place, whoever served there before; it is there when it listens."""
    fresh = f"{place}.new"
    for path in (fresh, place):
        if os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(fresh)
    os.chmod(fresh, 0o600)  # noqa: PTH101
    listener.listen(BACKLOG)
    os.rename(fresh, place)  # noqa: PTH104
    return listener


def start(request: "TemplateRequest", way: socket.socket) -> "tuple[int, Any]":
    """The template's process, and what it reports; None when it ended instead."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(request, way.detach(), tell)
    way.close()
    os.close(tell)
    return pid, _read(told)


def refuse(connection: socket.socket, why: str) -> None:
    """Answer that there will be no template."""
    send(connection, {"error": "StartError", "message": why, "exit_code": FAILED})


def _read(descriptor: int) -> "Any":
    """What the template reports, once it is ready; None when it ended instead."""
    parts: list[bytes] = []
    while part := os.read(descriptor, CHUNK):
        parts.append(part)
    os.close(descriptor)
    try:
        return json.loads(b"".join(parts))
    except ValueError:
        return None


def _become(request: "TemplateRequest", listener: int, tell: int) -> "NoReturn":
    """Turn into the template, in a view of its own."""
    try:
        die_with_parent()
        os.setsid()
        for number in DEFAULT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number, source in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
            os.dup2(source, number)
        for number, source in ((LISTENER + 100, listener), (REPORT + 100, tell)):
            os.dup2(source, number)
        for number in (LISTENER, REPORT):
            os.dup2(number + 100, number)
        close_from(REPORT + 1)
        unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
        place = f"{request['socket']}.root"
        remove_tree(place)
        os.mkdir(place, 0o700)  # noqa: PTH102
        root = Root(place)
        furnish(root, request["mounts"], place, init=False)
        root.enter()
        config = {name: request[name] for name in ("imports", "extras", "env", "idle", "rehearsal")}
        os.execve(request["argv"][0], [*request["argv"], json.dumps(config)], request["env"])  # noqa: S606
    except (OSError, Refused) as error:
        os.write(2, f"the template cannot start: {error}\n".encode())
    finally:
        os._exit(FAILED)
