"""A command inside a running container: in its namespaces, with its environment, directory and user."""

import errno
import fcntl
import os
import select
import signal
import socket
import termios

from ketch.local.processes import open_process
from ketch.local.sandbox.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    die_with_parent,
    drop_privileges,
    set_namespace,
)
from ketch.local.sandbox.records import SPEC, STARTED, read_record
from ketch.local.sandbox.wire import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from ketch.local.sandbox.wire import ExecRequest, StartRequest

STREAMS = ("stdin", "stdout", "stderr")
NAMESPACES = (
    ("user", CLONE_NEWUSER),
    ("mnt", CLONE_NEWNS),
    ("pid", CLONE_NEWPID),
    ("ipc", CLONE_NEWIPC),
    ("uts", CLONE_NEWUTS),
    ("net", CLONE_NEWNET),
)
FAILED = 125


def enter(pidfd: int, pid: int) -> None:
    """Join the namespaces of the process; children of the caller are in its PID namespace.

    Only those that are not the caller's already: to enter one's own is refused, for user namespaces always, for the
    machine's network to whoever is not its administrator.
    """
    kinds = 0
    for name, kind in NAMESPACES:
        if os.stat(f"/proc/{pid}/ns/{name}").st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:  # noqa: PTH116
            kinds |= kind
    set_namespace(pidfd, kinds)


def candidates(program: str, env: "Mapping[str, str]") -> "Sequence[str]":
    """Where execvp(3) would look."""
    if "/" in program:
        return (program,)
    return [f"{folder or '.'}/{program}" for folder in env.get("PATH", "/bin:/usr/bin").split(":")]


def become(spec: "StartRequest", request: "ExecRequest", streams: "Sequence[int]", tell: int) -> "NoReturn":
    """The child's half: turn into the command. What prevents it goes to ``tell`` as an errno, else that closes."""
    number, argv = errno.ENOENT, request["argv"]
    env = {**spec["env"], **request.get("env", {})}
    try:
        die_with_parent()
        os.setsid()
        for signum in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        for index, stream in enumerate(streams):
            os.dup2(stream, index)
        if request.get("terminal"):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # keys like Ctrl-C reach the command, jobs can be stopped
        os.chdir(spec["cwd"])
        drop_privileges()
        for path in candidates(argv[0], env):
            try:
                os.execve(path, list(argv), env)  # noqa: S606  # no shell is wanted
            except (FileNotFoundError, NotADirectoryError):
                continue
    except OSError as error:
        number = error.errno or errno.EIO
    finally:
        os.write(tell, number.to_bytes(4, "big"))
        os._exit(FAILED)


def complaint(argv: "Sequence[str]", number: int) -> tuple[str, int]:
    """The sentence and the exit code for an errno that ``become`` told."""
    if number == errno.ENOENT:
        if "/" in argv[0]:
            return f'exec: "{argv[0]}": stat {argv[0]}: no such file or directory', 127
        return f'exec: "{argv[0]}": executable file not found in $PATH', 127
    return f'exec: "{argv[0]}": {os.strerror(number).lower()}', 126


def _streams(request: "ExecRequest", descriptors: "Sequence[int]") -> "Sequence[int]":
    if request.get("terminal") and not descriptors:
        return ()
    given = dict(zip(request["descriptors"], descriptors, strict=False))
    return [given[name] if name in given else os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) for name in STREAMS]


def execute(connection: socket.socket, request: "ExecRequest", descriptors: "Sequence[int]") -> None:
    """Run the command to its end, or until the other side of the connection is gone."""
    try:
        started = read_record(f"{request['directory']}/{STARTED}")
        spec = read_record(f"{request['directory']}/{SPEC}")
    except FileNotFoundError:
        send(connection, {"error": "NotStarted", "message": f"no container was started in {request['directory']}"})
        return
    target = open_process(started["init"], started["init_ticks"])
    if target is None:
        send(connection, {"error": "NotRunning", "message": "the container has ended"})
        return
    streams = _streams(request, descriptors)
    told, tell = os.pipe()
    terminals: list[int] = []
    try:
        enter(target, started["init"])
        if not streams:
            ours, theirs = os.openpty()  # one of the container's own: the command finds it in /dev/pts
            terminals, streams = [ours], [theirs] * len(STREAMS)
    except OSError as error:
        send(connection, {"error": "NotRunning", "message": f"the container cannot be entered: {error}"})
        return
    pid = os.fork()
    if pid == 0:
        become(spec, request, streams, tell)
    for number in {tell, *streams}:
        os.close(number)
    if failure := os.read(told, 4):
        os.waitpid(pid, 0)
        message, code = complaint(request["argv"], int.from_bytes(failure, "big"))
        send(connection, {"error": "StartError", "message": message, "exit_code": code})
        return
    send(connection, {"pid": pid}, terminals)
    for number in terminals:
        os.close(number)
    supervise(connection, pid)


def supervise(connection: socket.socket, pid: int) -> None:
    """Tell the exit code of the command; end it when nobody is there to be told."""
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, connection], (), ())[0]:
        os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        send(connection, {"code": code if code >= 0 else 128 - code})
    except OSError:
        return
