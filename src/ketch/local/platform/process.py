"""One supervised process: how it is started, how it says that it is ready, how it is started again."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ketch.local.program import READY_FD, UNUSABLE

FIRST_INHERITED_FD = 3
ABOVE_INHERITED = 64
HOPELESS_AFTER = 3
"""A program that ended so often and was never ready is not tried for the sake of a start."""

FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.2, 10.0, 1.0
"""Seconds between two starts. A program that was ready for so long was in order: it is not made to wait for its end."""

PROBE_PAUSE = 0.02
CANNOT_EXECUTE = 127
LARGEST_LOG = 16 << 20
"""Bytes of a log beyond which the next start begins a new one."""
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class ProcessSpec:
    """A program of the platform.

    ``sockets`` are inherited as descriptors 3, 4, ... in their order and announced by LISTEN_PID, LISTEN_FDS and
    LISTEN_FDNAMES (the protocol of sd_listen_fds(3)). ``probe`` asks from outside whether it is ready; without one
    the process tells so itself (``announce_ready``). ``stop_seconds`` is its time between SIGTERM and SIGKILL.
    ``after_stop`` clears away what the process leaves behind, once it has been stopped for good.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    sockets: Mapping[str, int] = field(default_factory=dict[str, int])
    probe: Callable[[], Awaitable[bool]] | None = None
    stop_seconds: float = 10.0
    after_stop: Callable[[], None] | None = None


def inherited_sockets() -> Mapping[str, int]:
    """Listening descriptors by name, as sd_listen_fds(3) hands them over; empty when none are meant for us."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {name: FIRST_INHERITED_FD + index for index, name in enumerate(names) if name}


def _exec(spec: ProcessSpec, log: int, tell: int, supervisor: int) -> NoReturn:
    """The child's half of ``spawn``: put descriptors in place and become the program."""
    try:
        # Whatever ends the supervisor ends the program: nobody would start it again, and it holds the addresses.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(CANNOT_EXECUTE)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        wanted = [fcntl.fcntl(number, fcntl.F_DUPFD, ABOVE_INHERITED) for number in (*spec.sockets.values(), tell)]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for index, number in enumerate(wanted):
            os.dup2(number, FIRST_INHERITED_FD + index)
        os.closerange(FIRST_INHERITED_FD + len(wanted), os.sysconf("SC_OPEN_MAX"))
        environment = {**os.environ, **spec.environment, READY_FD: str(FIRST_INHERITED_FD + len(spec.sockets))}
        if spec.sockets:
            environment |= {
                "LISTEN_PID": str(os.getpid()),
                "LISTEN_FDS": str(len(spec.sockets)),
                "LISTEN_FDNAMES": ":".join(spec.sockets),
            }
        os.execvpe(spec.argv[0], spec.argv, environment)  # noqa: S606  # no shell is wanted
    except OSError as error:
        os.write(2, f"cannot start {spec.argv[0]}: {error}\n".encode())
    finally:
        os._exit(CANNOT_EXECUTE)


def _open_log(path: Path) -> int:
    """The log to append to; one that has grown large is put aside, in place of the one before it."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LARGEST_LOG:
            path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def spawn(spec: ProcessSpec, log: Path) -> tuple[int, int]:
    """Start ``spec`` with its output appended to ``log``: its process id, and the read end of its readiness pipe.

    The program ends with the thread that called this.
    """
    told, tell = os.pipe()
    output = _open_log(log)
    sys.stdout.flush()
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _exec(spec, output, tell, supervisor)
    os.close(output)
    os.close(tell)
    os.set_blocking(told, False)
    return pid, told


async def wait_for_exit(pid: int) -> int:
    """The exit code of our child ``pid`` (negative: the signal that ended it), once it has ended."""
    descriptor = os.pidfd_open(pid)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222  # it has ended: this does not wait


async def wait_for_line(descriptor: int) -> bool:
    """Whether the other end of the pipe wrote anything before it closed. Closes ``descriptor``."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
        return bool(os.read(descriptor, 64))
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


class SupervisedProcess:
    """Keeps one program running until told to stop; an exit means a restart after a growing pause."""

    def __init__(self, spec: ProcessSpec, log: Path, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.log = log
        self.pid: int | None = None
        self.restarts = 0
        self.last_exit: int | None = None
        self.ready = asyncio.Event()
        self.was_ready = False
        self._ready_since: float | None = None
        self._changed = changed
        self._stopping = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def cannot_start(self) -> bool:
        """It ended again and again and was never ready: another try will not help."""
        return not self.was_ready and (self.restarts >= HOPELESS_AFTER or self.last_exit == UNUSABLE)

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1] if lines else ""

    async def run(self) -> None:
        """Start the program, and again whenever it ends, until ``stop``."""
        pause, loop = FIRST_PAUSE, asyncio.get_running_loop()
        while not self._stopping.is_set():
            self._ready_since = None
            self._gone.clear()
            self.pid, told = spawn(self.spec, self.log)
            readiness = asyncio.create_task(self._become_ready(told))
            self._changed()
            self.last_exit = await wait_for_exit(self.pid)
            self.pid = None
            self.ready.clear()
            self._gone.set()
            readiness.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await readiness
            if self._stopping.is_set():
                break
            self.restarts += 1
            self._changed()
            if self._ready_since is not None and loop.time() - self._ready_since > STEADY_AFTER:
                pause = FIRST_PAUSE
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        self._changed()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after ``stop_seconds``; returns when the process is gone."""
        self._stopping.set()
        for number, seconds in ((signal.SIGTERM, self.spec.stop_seconds), (signal.SIGKILL, 5.0)):
            if self.pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), seconds)

    async def _become_ready(self, told: int) -> None:
        if self.spec.probe is None:
            ready = await wait_for_line(told)
        else:
            os.close(told)
            while not await self.spec.probe():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), PROBE_PAUSE)
            ready = True
        if ready:
            self.was_ready = True
            self._ready_since = asyncio.get_running_loop().time()
            self.ready.set()
            self._changed()
