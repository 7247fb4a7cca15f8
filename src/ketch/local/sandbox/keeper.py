"""A container's keeper: starts it, copies its output, watches its memory, records its end. Then it ends itself.

It is forked from the zygote and needs nobody afterwards: not the zygote, not the node agent, not the control plane.
"""

import errno
import fcntl
import json
import os
import select
import signal
import socket
import time

from ketch.local.processes import PROC, boot, children, open_process, program, start_ticks
from ketch.local.sandbox.bubblewrap import Refused, arguments, controlling, refusal
from ketch.local.sandbox.interactive import Attendance, Stdio, is_interactive, read
from ketch.local.sandbox.logs import Log
from ketch.local.sandbox.memory import MemoryWatch
from ketch.local.sandbox.namespaces import CLONE_NEWNET, set_namespace
from ketch.local.sandbox.processlimit import confine
from ketch.local.sandbox.records import CLAIM, EXIT, SCRATCH, SPEC, STARTED, read_record, remove_tree, write_record
from ketch.local.sandbox.sweeping import settle
from ketch.local.sandbox.wire import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ketch.local.sandbox.wire import Answer, StartRequest

CHUNK = 1 << 16
PIPE_SIZE = 1 << 18
GLANCE, LONGEST_GLANCE, GROWTH = 0.0002, 0.005, 1.1
"""Seconds between looks at whether bubblewrap has become the user's program. It takes a few milliseconds; where it
takes longer, too many start at once, and looking must not slow them more."""

ARGUMENTS_FD, STATUS_FD = 3, 4
NO_OVERLAY = "overlay mount"
"""What bubblewrap speaks of when the kernel makes none."""

EXPENDABLE = "500"
"""Where memory runs out, the kernel takes containers before the platform (oom_score_adj)."""

FULL_DISK_PATIENCE, FULL_DISK_PAUSE = 300.0, 0.2
"""Seconds that an end waits to be written where there is no room, and between two tries."""

KEPT_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)


class Program:
    """bubblewrap on its way to become the container: the ends of its pipes, and what is known of it."""

    def __init__(self, bwrap: str, request: "StartRequest") -> None:
        options = os.memfd_create("options")
        os.write(options, "\0".join(arguments(request)).encode("utf-8", "surrogateescape") + b"\0")
        os.lseek(options, 0, os.SEEK_SET)
        self.stdio = stdio = Stdio(request)
        self.stdout, self.stderr = stdio.stdout, stdio.stderr
        self.status, status = os.pipe()
        self._joins = request["processes_of"] is not None
        shared = (process_namespace(request["processes_of"]),) if request["processes_of"] else ()
        # Numbers that are in nobody's way while they are put in place one after the other.
        theirs = [_high(number) for number in (*stdio.theirs, options, status, *shared)]
        program = (*controlling(request), *request["argv"])
        argv = (bwrap, "--args", str(ARGUMENTS_FD), "--json-status-fd", str(STATUS_FD), "--", *program)
        self.pid = os.posix_spawn(
            bwrap,
            argv,
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs[number], number) for number in range(len(theirs))],
            setsigdef=KEPT_SIGNALS,
        )
        for number in (*stdio.theirs, options, status, *shared, *theirs):
            os.close(number)
        self.init = 0
        self.user_pid = 0
        self._mounts = -1
        self.early_stderr = b""

    def await_start(self) -> bool:
        """Wait until the user's program runs, or has run already. False: it never will."""
        said, bwrap, pause = b"", None, GLANCE
        readers = [self.status, self.stderr]
        while True:
            ready = select.select(readers, (), (), pause if self.init else None)[0]
            if self.stderr in ready:
                # Whose words these are is known when it is known who became of bubblewrap.
                text = read(self.stderr)
                self.early_stderr += text
                if not text or len(self.early_stderr) > CHUNK:
                    readers.remove(self.stderr)
            if self.status in ready:
                text = os.read(self.status, CHUNK)
                if not text:
                    return b'"exit-code"' in said
                said += text
                if not self.init and b"\n" in said:  # bubblewrap writes its line in pieces
                    self.init = int(json.loads(said.partition(b"\n")[0])["child-pid"])
                    bwrap = program(self.pid if self._joins else self.init)
            elif self.init:
                if self._became_program(bwrap):
                    return True
                pause = min(LONGEST_GLANCE, pause * GROWTH)

    def _became_program(self, bwrap: "tuple[int, int] | None") -> bool:
        # Among another container's processes there is no init of its own: the child itself is to be the program.
        for child in (self.init,) if self._joins else children(self.init):
            self.user_pid = child
            runs = program(child)
            if self._joins:
                self._mounts = _mounts_of(child) or self._mounts
            return runs is not None and bwrap is not None and runs != bwrap
        return False

    def read_rest_of_stderr(self) -> str:
        """All that was said on stderr, once everyone who could say more is gone."""
        while text := read(self.stderr):
            self.early_stderr += text
        return self.early_stderr.decode(errors="replace")

    def reap(self) -> int:
        """Wait for bubblewrap's end: its exit code. Nobody of the container is left then, nor writes to its log."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._end_others()
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """End every process of the container."""
        try:
            os.kill(self.init or self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _end_others(self) -> None:
        """Among another container's processes: end those of this one that its program left behind.

        Elsewhere they end with their init. Whose they are, their file system tells: none can leave its container's.
        """
        while self._joins and (left := [pid for pid in _processes() if _mounts_of(pid) == self._mounts]):
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(GLANCE)


def _processes() -> "list[int]":
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208


def _mounts_of(pid: int) -> int:
    """The mount namespace of a process, as a number; 0 when it has ended."""
    try:
        return os.stat(f"{PROC}/{pid}/ns/mnt").st_ino  # noqa: PTH116
    except OSError:
        return 0


def process_namespace(directory: str) -> int:
    """The PID namespace of the container that runs in a directory. Raises Refused."""
    try:
        record = read_record(f"{directory}/{STARTED}")
    except FileNotFoundError:
        raise Refused("the container whose processes are to be seen has not started") from None
    init = open_process(record["init"], record["init_ticks"]) if record["boot"] == boot() else None
    if init is None:
        raise Refused("the container whose processes are to be seen has ended")
    try:
        return os.open(f"/proc/{record['init']}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"the processes of the container cannot be joined: {error.strerror}") from error
    finally:
        os.close(init)


def _high(number: int) -> int:
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 64)


def claim(directory: str) -> int | None:
    """A lock on the directory, if this keeper may have it: nobody was started in it, and nobody is about to be.

    The lock ends with this process: a keeper that was killed before it started anything is in nobody's way.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103
    descriptor = os.open(f"{directory}/{CLAIM}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.path.exists(f"{directory}/{STARTED}"):  # noqa: PTH110
        os.close(descriptor)
        return None
    remove_tree(f"{directory}/{SCRATCH}")
    return descriptor


def refuse_taken(connection: socket.socket, directory: str) -> None:
    """Answer that the directory is somebody else's."""
    state = "was started already" if os.path.exists(f"{directory}/{STARTED}") else "is being started"  # noqa: PTH110
    send(connection, {"error": "AlreadyStarted", "message": f"the container in {directory} {state}"})


def abandon(directory: str) -> None:
    """Leave the directory as if nothing had been tried in it."""
    remove_tree(f"{directory}/{SCRATCH}")
    for name in (SPEC, CLAIM):
        try:
            os.unlink(f"{directory}/{name}")  # noqa: PTH108
        except FileNotFoundError:
            continue


def launch(bwrap: str, request: "StartRequest", network: int | None) -> "tuple[Program, Log]":
    """Start the container's program, its log ready. Raises Refused, with nothing left behind."""
    directory = request["directory"]
    try:
        if network is not None:
            set_namespace(network, CLONE_NEWNET)
            os.close(network)
        set_parameters(request["sysctls"])
        record_spec(request, directory)
        container = begin(bwrap, request)
        log = open_log(container, request["log"])
    except OSError as error:
        abandon(directory)
        raise Refused(f"cannot make the sandbox: {error}") from error
    except Refused:
        abandon(directory)
        raise
    return container, log


def set_parameters(sysctls: "Mapping[str, str]") -> None:
    """Set the kernel's parameters of the network that this process is in. Raises Refused."""
    for name, value in sysctls.items():
        try:
            with open(f"/proc/sys/{name.replace('.', '/')}", "w") as file:  # noqa: PTH123
                file.write(value)
        except OSError as error:
            raise Refused(f'cannot set sysctl "{name}": {(error.strerror or str(error)).lower()}') from error


def record_spec(request: "StartRequest", directory: str) -> None:
    """Write down what is started."""
    spec = {name: request[name] for name in ("argv", "env", "cwd", "user", "group", "extra")}
    write_record(f"{directory}/{SPEC}", spec, durable=False)


def begin(bwrap: str, request: "StartRequest") -> Program:
    """The container as bubblewrap makes it, with copies where the kernel permits no overlay. Raises Refused."""
    try:
        return begin_once(bwrap, request)
    except Refused as refused:
        overlays = [mount for mount in request["mounts"] if mount["kind"] == "overlay"]
        if NO_OVERLAY not in str(refused) or not overlays:
            raise
        os.write(2, f"keeper: files are copied, as no overlay is permitted: {refused}\n".encode())
    for mount in overlays:
        mount["copied"] = True
    remove_tree(f"{request['directory']}/{SCRATCH}")
    return begin_once(bwrap, request)


def begin_once(bwrap: str, request: "StartRequest") -> Program:
    """One try of it. Raises Refused, OSError."""
    container = Program(bwrap, request)
    if not container.await_start():
        complaint = container.read_rest_of_stderr()
        container.reap()
        raise refusal(complaint, request)
    return container


def open_log(container: Program, path: str) -> Log:
    """The container's log; a container that has none must not run. Raises Refused."""
    try:
        return Log(path)
    except OSError as error:
        container.kill()
        container.reap()
        raise Refused(f'cannot write the log "{path}": {error.strerror}') from error


def record_start(directory: str, pids: "tuple[int, int, int]", *, warm: bool, proc: str = PROC) -> "Answer":
    """Write down who runs, for those who look after a restart: keeper, init and the user's process.

    ``proc`` is where this process sees them by these numbers.
    """
    keeper, init, pid = pids
    answer: Answer = {"keeper_pid": keeper, "pid": pid, "started_at": time.time_ns(), "warm": warm}
    record = {
        **answer,
        "boot": boot(),
        "init": init,
        "keeper_ticks": start_ticks(keeper, proc),
        "ticks": start_ticks(pid, proc),
        "init_ticks": start_ticks(init, proc),
    }
    write_record(f"{directory}/{STARTED}", record, durable=False)
    for each in {init, pid} - {keeper}:
        try:
            with open(f"{proc}/{each}/oom_score_adj", "w") as file:  # noqa: PTH123
                file.write(EXPENDABLE)
        except OSError:
            continue
    return answer


def watch(container: Program, log: Log, memory: MemoryWatch | None) -> int:
    """Copy the output until the container has ended and its pipes are empty: its exit code."""
    if container.early_stderr:
        log.write(b"stderr", container.early_stderr)
    ended = os.pidfd_open(container.pid)
    streams = {container.stdout: b"stdout", container.stderr: b"stderr"}
    poll = select.poll()
    for number in (*streams, ended):
        poll.register(number, select.POLLIN)
    code = None
    while streams or code is None:
        pause = None if memory is None or code is not None else memory.pause()
        for number, _ in poll.poll(None if pause is None else pause * 1000):
            if number == ended:
                code = container.reap()
                poll.unregister(ended)
                continue
            data = os.read(number, CHUNK)
            if data:
                log.write(streams[number], data)
            else:
                poll.unregister(number)
                del streams[number]
        if code is None and memory is not None and memory.exceeded():
            container.kill()
    return code


def keep(
    connection: socket.socket, bwrap: str, request: "StartRequest", network: int | None, sweeper: socket.socket
) -> None:
    """A keeper's whole life after it was told what to start."""
    directory = request["directory"]
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if claim(directory) is None:
        refuse_taken(connection, directory)
        return
    try:
        container, log = launch(bwrap, request, network)
    except Refused as refused:
        send(connection, {"error": "StartError", "message": str(refused), "exit_code": refused.code})
        return
    answer = record_start(directory, (os.getpid(), container.init, container.user_pid), warm=False)
    try:
        send(connection, answer)
    except OSError:
        pass  # whoever asked is gone: the container is found by its records
    finally:
        connection.close()
    confine(container.init)
    limit = request["memory_bytes"]
    memory = None if limit is None else MemoryWatch(container.init, limit)
    interactive = is_interactive(request)
    code = Attendance(container, log, request).attend(memory) if interactive else watch(container, log, memory)
    log.close()
    out_of_memory = memory is not None and memory.was_exceeded
    record_exit(directory, code, oom_killed=out_of_memory)
    settle(sweeper, directory)


def record_exit(directory: str, code: int, *, oom_killed: bool) -> None:
    """Write the end down; ``sweeping`` makes it durable. On a full disk, once there is room, of its own first."""
    end = {"code": code, "signal": code - 128 if code > 128 else None, "oom_killed": oom_killed}
    record, until = {**end, "finished_at": time.time_ns()}, time.monotonic() + FULL_DISK_PATIENCE
    while True:
        try:
            write_record(f"{directory}/{EXIT}", record, durable=False)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or time.monotonic() > until:
                raise
            remove_tree(f"{directory}/{SCRATCH}")
            time.sleep(FULL_DISK_PAUSE)
        else:
            return
