"""A container whose process is forked from a warm interpreter: the life of its init, which is its keeper too.

It is made by the nursery before anyone asks (``nursery``), in namespaces of its own, and furnishes what all containers
there have. Then it takes one request, becomes the parent of what the warm interpreter (``template``) sends into its
namespaces, copies the output, records the end, and ends itself. It keeps its rights and its sight of the machine: so
nobody in the container may look into it. What does not go this way is unwarmed: it may start as any other.
"""

import array
import contextlib
import marshal
import os
import select
import signal
import socket

from ketch.local.processes import children
from ketch.local.sandbox.bubblewrap import Refused
from ketch.local.sandbox.keeper import (
    CHUNK,
    abandon,
    claim,
    record_exit,
    record_spec,
    record_start,
    refuse_taken,
)
from ketch.local.sandbox.logs import Log
from ketch.local.sandbox.memory import MemoryWatch
from ketch.local.sandbox.mounting import Root, add, furnish
from ketch.local.sandbox.namespaces import CLONE_NEWNET, close_from, die_with_parent, outlive_parent, set_namespace
from ketch.local.sandbox.processlimit import confine_own
from ketch.local.sandbox.records import SCRATCH
from ketch.local.sandbox.sweeping import settle
from ketch.local.sandbox.template import READY, WITH_NETWORK, WITHOUT_NETWORK
from ketch.local.sandbox.wire import Closed, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from ketch.local.sandbox.wire import MountRequest, StartRequest

PATIENCE = 5.0
"""Seconds until a container that does not begin is begun the ordinary way, and its template is given up."""

MARSHALLED = 2
"""The format that every interpreter reads."""

LONGEST_WORD = 4096
INIT = 1
QUIET_ENDS = (signal.SIGINT, signal.SIGPIPE)
"""Signals of whose victims a shell does not speak."""

TAKEN, STUCK, END = b"t", b"s", b"e"
"""What an init tells its nursery: that it has a container, that the template does not answer, that both may end."""

PID_BYTES = 4
SEEN = "/proc/self/fd"
"""Where an init still finds what it opened before it went where the container is."""


class Unwarmed(Exception):
    """The container cannot begin this way; nothing of it is left."""


class Nest:
    """What an init gets from its nursery: descriptors, and the mounts that are made ahead on ``place``."""

    def __init__(self, numbers: "Sequence[int]", place: str, furniture: "Sequence[MountRequest]") -> None:
        self.numbers = numbers
        """Listener, the way to the template, the way to the nursery, the way to the sweeper."""

        self.place = place
        self.furniture = furniture


class Init:
    """The first process of a container, before and after it has one."""

    def __init__(self, nest: Nest) -> None:
        die_with_parent()
        confine_own()
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(2):
            os.dup2(null, number)
        listener, template, tell, sweeper = in_order(nest.numbers)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, listener)
        self._template = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, template)
        self._sweeper = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, sweeper)
        self._tell = tell
        self.pid = int(os.readlink("/proc/self"))  # noqa: PTH115  # as the machine sees it
        self.proc = f"{SEEN}/{os.open('/proc', os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.woken, waking = os.pipe()
        os.set_blocking(waking, False)
        signal.signal(signal.SIGCHLD, woken)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        self.root = Root(nest.place)
        furnish(self.root, nest.furniture, nest.place)

    def take(self) -> "tuple[socket.socket, StartRequest, Sequence[int]]":
        """Wait for a request; from here on this process lives for it alone. Raises Closed."""
        connection = self._listener.accept()[0]
        self._listener.close()
        self.tell(TAKEN)
        outlive_parent()
        request, descriptors = receive(connection)
        if request["operation"] == "end":
            self.tell(END)
            raise Closed
        return connection, request, descriptors

    def tell(self, word: bytes) -> None:
        """Say something to the nursery, if it is still there."""
        try:
            os.write(self._tell, word + self.pid.to_bytes(PID_BYTES, "big"))
        except OSError:
            return

    def ask_template(self, word: bytes, descriptors: "Sequence[int]") -> None:
        """Have the template send a process here. Raises OSError when it is gone or overwhelmed."""
        self._template.settimeout(PATIENCE)
        rights = array.array("i", descriptors)
        self._template.sendmsg([word], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self._template.close()

    def settle(self, directory: str, seen_at: str) -> None:
        """Leave the rest to the sweeper."""
        settle(self._sweeper, directory, seen_at)


class Birth:
    """A container's process on its way from the template to its init."""

    def __init__(self, init: Init, request: "StartRequest", *, network: bool) -> None:
        (self.stdout, stdout), (self.stderr, stderr), (stands, self._standing) = os.pipe(), os.pipe(), os.pipe()
        self._born, bearing = os.pipe()
        self._way, theirs = socket.socketpair()
        self._init = init
        given = [os.pidfd_open(INIT), in_memory(request), stdout, stderr, stands, theirs.detach(), bearing]
        try:
            init.ask_template(WITH_NETWORK if network else WITHOUT_NETWORK, given)
        finally:
            for number in given:
                os.close(number)

    def await_process(self) -> "tuple[int, int]":
        """The process's number here and on the machine, when it may run. Raises Unwarmed, OSError."""
        os.write(self._standing, READY)
        os.close(self._standing)
        self._way.settimeout(PATIENCE)
        try:
            word = self._way.recv(LONGEST_WORD)
        except TimeoutError:
            self._init.tell(STUCK)
            raise
        if word != READY:
            raise Unwarmed(word.decode(errors="replace"))
        pid = int.from_bytes(os.read(self._born, PID_BYTES), "big")
        os.close(self._born)
        return pid, children(self._init.pid, self._init.proc)[0]

    def release(self) -> None:
        """Let the process run."""
        self._way.send(READY)
        self._way.close()


class Life:
    """A container while it runs."""

    def __init__(self, init: Init, pid: int, log: Log, memory: MemoryWatch | None) -> None:
        self._woken = init.woken
        self._pid = pid
        self._log = log
        self._memory = memory
        self._status: int | None = None

    def watch(self, streams: "dict[int, bytes]") -> int:
        """Copy the output until the process has ended, and all that it left behind: its status."""
        poll = select.poll()
        for number in (*streams, self._woken):
            poll.register(number, select.POLLIN)
        while streams or self._status is None:
            watched = self._memory if self._status is None else None
            for number, _ in poll.poll(None if watched is None else watched.pause() * 1000):
                if number == self._woken:
                    os.read(number, CHUNK)
                    self._bury()
                elif data := os.read(number, CHUNK):
                    self._log.write(streams[number], data)
                else:
                    poll.unregister(number)
                    del streams[number]
            if self._status is None and watched is not None and watched.exceeded():
                os.kill(self._pid, signal.SIGKILL)
        return self._status

    def _bury(self) -> None:
        """Take note of who has ended; with the process that matters, everyone does."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid:
                    self._status = ended[1]
                    os.kill(-1, signal.SIGKILL)
        except (ChildProcessError, ProcessLookupError):
            return  # nobody is left


def woken(number: int, frame: object) -> None:
    """A handler that does nothing: that a signal came is read from the descriptor that it wakes."""


def in_order(descriptors: "Sequence[int]") -> "Sequence[int]":
    """The descriptors under the lowest numbers, all others closed."""
    high = [os.dup2(number, 100 + index, inheritable=False) for index, number in enumerate(descriptors)]
    low = [os.dup2(number, 3 + index, inheritable=False) for index, number in enumerate(high)]
    close_from(3 + len(low))
    return low


def in_memory(request: "StartRequest") -> int:
    """A descriptor from which the template's child reads who it is."""
    warm = request["warm"]
    assert warm is not None
    told = {name: warm[name] for name in ("program", "module", "arguments", "text", "text_name", "text_at")}
    # PWD: as bubblewrap sets it.
    told |= {"cwd": request["cwd"], "env": {**request["env"], "PWD": request["cwd"], **warm["env"]}}
    descriptor = os.memfd_create("process")
    os.write(descriptor, marshal.dumps(told, MARSHALLED))
    return descriptor


def folder(path: str) -> str:
    """The directory, which is made if it is not there, by a path that is good wherever this process goes."""
    os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103  # pathlib is not loaded in keepers
    return f"{SEEN}/{os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"


def begin(init: Init, request: "StartRequest", network: int | None) -> "tuple[Birth, Log, tuple[int, int]]":
    """Have the container stand, with its process in it. Raises Unwarmed, Refused, OSError."""
    if any(mount["target"].strip("/") in ("", "proc") for mount in request["mounts"]):
        raise Unwarmed("init needs to see processes")
    directory = request["directory"]
    if network is not None:
        set_namespace(network, CLONE_NEWNET)
        os.close(network)
    birth = Birth(init, request, network=network is not None)
    socket.sethostname(request["hostname"])
    scratch = f"{directory}/{SCRATCH}"
    os.mkdir(scratch, 0o700)  # noqa: PTH102
    above, _, name = request["log"].rpartition("/")
    log = Log(f"{folder(above)}/{name}")
    add(init.root, request["mounts"], scratch)
    init.root.enter()
    return birth, log, birth.await_process()


def keep(init: Init, connection: socket.socket, request: "StartRequest", network: int | None) -> None:
    """A container from its request to its end."""
    directory = request["directory"]
    lock = claim(directory)
    if lock is None:
        refuse_taken(connection, directory)
        return
    here = folder(directory)
    try:
        record_spec(request, here)
        birth, log, (pid, outside) = begin(init, request, network)
        answer = record_start(here, (init.pid, init.pid, outside), warm=True, proc=init.proc)
        birth.release()
    except (OSError, IndexError, Unwarmed, Refused) as error:
        kill_all()
        abandon(here)
        os.close(lock)
        send(connection, {"error": "Unwarmed", "message": str(error)})
        return
    with contextlib.suppress(OSError):  # whoever asked may be gone: the container is found by its records
        send(connection, answer)
    limit = request["memory_bytes"]
    memory = None if limit is None else MemoryWatch(INIT, limit)
    status = Life(init, pid, log, memory).watch({birth.stdout: b"stdout", birth.stderr: b"stderr"})
    warm = request["warm"]
    code = exit_code(status, log, speak=warm is not None and warm["below_shell"])
    log.close()
    record_exit(here, code, oom_killed=memory is not None and memory.was_exceeded)
    connection.close()
    init.settle(directory, here)


def kill_all() -> None:
    """End every other process of the container."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return


def exit_code(status: int, log: Log, *, speak: bool) -> int:
    """What the process ended with; with ``speak``, the log says what a shell would have said of it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    if speak and -code not in QUIET_ENDS:
        core = " (core dumped)" if os.WCOREDUMP(status) else ""
        log.write(b"stderr", f"{signal.strsignal(-code)}{core}\n".encode())
    return 128 - code


def live(nest: Nest) -> "NoReturn":
    """Be the init of a container that nobody has asked for yet."""
    try:
        init = Init(nest)
        connection, request, descriptors = init.take()
        keep(init, connection, request, descriptors[0] if descriptors else None)
    except Closed:
        pass
    except (OSError, Refused) as error:
        os.write(2, f"keeper: not from a template: {error}\n".encode())
    finally:
        os._exit(0)
