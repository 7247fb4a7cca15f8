"""The supervisor: keeps the platform's processes alive, and says how they are.

It owns the listening sockets and hands them to whoever serves them, so that a process killed and started again
answers on the same addresses, and connections made meanwhile wait instead of failing. Its own state is one JSON file,
rewritten whole at every change.
"""

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketch.local.platform.directory import DataDirectory
from ketch.local.platform.identity import identity
from ketch.local.platform.process import ProcessSpec, SupervisedProcess

BACKLOG = 1024
TELL_AGAIN = 1.0
"""Seconds until the state that could not be written is written again."""


class StartError(Exception):
    """The platform cannot start; the message says why and what to do. Nothing was started."""


class DirectoryInUse(StartError):
    """Another platform runs on the data directory."""


class PortInUse(StartError):
    """Another program listens on a wanted port."""


def lock_directory(directory: DataDirectory) -> int:
    """Take the directory for this process; the lock goes with the returned descriptor. Raises DirectoryInUse."""
    descriptor = os.open(directory.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise DirectoryInUse(
            f"a platform already runs on {directory.root} (process {owner}): use it, stop it with "
            f"'ketch down --data-dir {directory.root}', or choose another --data-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _listener(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen(port: int, option: str) -> Sequence[socket.socket]:
    """Sockets listening on ``port`` of both loopback addresses (of IPv4 alone where IPv6 is off). Raises PortInUse.

    ``option`` is the command-line option that chooses another port. Port 0 takes a free one.
    """
    sockets: list[socket.socket] = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            sockets.append(_listener(family, address, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
            for opened in sockets:
                opened.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(f"port {port} is in use by another program: choose another with {option}") from error
            reason = error.strerror or str(error)
            raise StartError(f"cannot listen on {address}:{port}: {reason}: choose another with {option}") from error
        port = sockets[0].getsockname()[1]
    return sockets


def listen_at(address: str, port: int, option: str) -> socket.socket:
    """A socket that listens on ``port`` of one address of this machine. Raises PortInUse, StartError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return _listener(family, address, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"port {port} is in use by another program: choose another with {option}") from error
        raise StartError(f"cannot listen on {address}:{port}: {error.strerror or error}") from error


def write_atomically(path: Path, text: str) -> None:
    """Replace the file's content in one step; readers see the old or the new, never half."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Endpoints:
    """Where the platform answers."""

    platform: str
    kubernetes: str


class Supervisor:
    """Runs ``specs`` until told to stop; ``ready`` is set once all of them are at the same time, ``hopeless`` when one
    of them cannot start."""

    def __init__(self, directory: DataDirectory, specs: Sequence[ProcessSpec], endpoints: Endpoints) -> None:
        self.ready = asyncio.Event()
        self.hopeless = asyncio.Event()
        self._directory = directory
        self._endpoints = endpoints
        self._stop = asyncio.Event()
        self._started = time.time_ns() // 1_000_000_000
        self._telling: asyncio.TimerHandle | None = None
        self._processes = [SupervisedProcess(spec, directory.log(spec.name), self._changed) for spec in specs]

    async def run(self) -> None:
        """Start everything, keep it alive, and end it in reverse order on ``stop`` (or SIGTERM, SIGINT, SIGHUP)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1)
                loop.add_signal_handler(number, self.stop)
        runs = [asyncio.create_task(process.run()) for process in self._processes]
        try:
            await self._stop.wait()
        finally:
            for process in reversed(self._processes):
                await process.stop()
                if process.spec.after_stop is not None:
                    await asyncio.to_thread(process.spec.after_stop)
            await asyncio.gather(*runs)
            self._directory.state.unlink(missing_ok=True)

    def stop(self) -> None:
        """Begin to end everything."""
        self._stop.set()

    def obstacles(self) -> Sequence[str]:
        """What is not ready, each with its last words, or only those that cannot start if there are any."""
        late = [process for process in self._processes if not process.ready.is_set()]
        hopeless = [process for process in late if process.cannot_start]
        return [f"{process.spec.name}: {process.last_words()}" for process in hopeless or late]

    def describe(self) -> Mapping[str, Any]:
        """The content of the state file."""
        return {
            "pid": os.getpid(),
            "identity": identity(os.getpid()),
            "started": self._started,
            "ready": self.ready.is_set(),
            "endpoints": {"platform": self._endpoints.platform, "kubernetes": self._endpoints.kubernetes},
            "processes": {
                process.spec.name: {
                    "pid": process.pid,
                    "identity": None if process.pid is None else identity(process.pid),
                    "ready": process.ready.is_set(),
                    "restarts": process.restarts,
                    "lastExit": process.last_exit,
                }
                for process in self._processes
            },
        }

    def _changed(self) -> None:
        if self._stop.is_set():
            return
        if all(process.ready.is_set() for process in self._processes):
            self.ready.set()
        else:
            self.ready.clear()
        if any(process.cannot_start for process in self._processes):
            self.hopeless.set()
        self._tell()

    def _tell(self) -> None:
        """Write the state down; on a full disk, as soon as there is room."""
        try:
            write_atomically(self._directory.state, json.dumps(self.describe(), indent=1))
        except FileNotFoundError:
            return  # the directory was removed under us: nothing left to tell
        except OSError:
            if self._telling is None or self._telling.when() <= asyncio.get_running_loop().time():
                self._telling = asyncio.get_running_loop().call_later(TELL_AGAIN, self._tell_late)

    def _tell_late(self) -> None:
        if not self._stop.is_set():
            self._tell()
