"""Containers that listen: a stdin that stays open, or a terminal, and clients who come and go (attach).

The keeper serves ``ATTACH`` in the container's directory. A client hands over its ends of stdin, stdout and stderr and
stays connected; it is answered with the terminal, if there is one, so that it can give it a size. What the container
writes goes to the log and to every client; a client that does not read holds the container back, as a terminal would.
"""

import errno
import os
import select
import socket
import time

from ketch.local.sandbox.wire import Closed, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ketch.local.sandbox.keeper import Program
    from ketch.local.sandbox.logs import Log
    from ketch.local.sandbox.memory import MemoryWatch
    from ketch.local.sandbox.wire import StartRequest

ATTACH = "attach.sock"
CHUNK = 1 << 16
MOST_HELD = 1 << 20
"""Bytes that wait for one client, or for the container, before their writer has to."""

PATIENCE = 1.0
"""Seconds in which a client may take what a container that has ended has left."""


def is_interactive(request: "StartRequest") -> bool:
    """Whether clients may write to the container, or it has a terminal."""
    return request["stdin"] or request["tty"]


class Stdio:
    """Both ends of a container's standard streams: ``theirs`` are its own, the others the keeper's."""

    def __init__(self, request: "StartRequest") -> None:
        self.terminal: int | None = None
        self.stdin: int | None = None
        if request["tty"]:
            ours, theirs = os.openpty()
            self.terminal = self.stdout = self.stderr = ours
            self.theirs = (theirs, os.dup(theirs), os.dup(theirs))
            if request["stdin"]:
                self.stdin = os.dup(ours)
            return
        (self.stdout, stdout), (self.stderr, stderr) = os.pipe(), os.pipe()
        if request["stdin"]:
            stdin, self.stdin = os.pipe()
        else:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.theirs = (stdin, stdout, stderr)


def read(descriptor: int) -> bytes:
    """What is there to be read; empty at the end, also at that of a terminal."""
    try:
        return os.read(descriptor, CHUNK)
    except OSError as error:
        if error.errno != errno.EIO:  # what Linux says of a terminal that nobody has open
            raise
        return b""


class Outlet:
    """Somewhere to write without waiting; what does not fit is held."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.held = bytearray()
        self.last = False
        self.broken = False

    def write(self, data: bytes = b"") -> None:
        """Write as much as fits, and hold the rest."""
        self.held += data
        try:
            while self.held:
                del self.held[: os.write(self.descriptor, self.held[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self.held.clear()
            self.broken = True

    @property
    def full(self) -> bool:
        """Whether its writer has to wait."""
        return len(self.held) > MOST_HELD


class Client:
    """One that is attached."""

    def __init__(self, connection: socket.socket, descriptors: "Mapping[str, int]") -> None:
        self.connection = connection
        self.stdin = descriptors.get("stdin")
        if self.stdin is not None:
            os.set_blocking(self.stdin, False)
        self.outlets = {name: Outlet(number) for name, number in descriptors.items() if name != "stdin"}

    def close(self) -> None:
        """Let go of it."""
        self.connection.close()
        for outlet in self.outlets.values():
            os.close(outlet.descriptor)
        if self.stdin is not None:
            os.close(self.stdin)


class Attendance:
    """Carries bytes between a container, its log and its clients until it has ended."""

    def __init__(self, container: "Program", log: "Log", request: "StartRequest") -> None:
        self._container = container
        self._log = log
        stdio = container.stdio
        self._terminal, self._once = stdio.terminal, request["stdin_once"]
        self._stdin = None if stdio.stdin is None else Outlet(stdio.stdin)
        self._sources = {stdio.stdout: "stdout"} if stdio.terminal else {stdio.stdout: "stdout", stdio.stderr: "stderr"}
        self._clients: list[Client] = []
        self._listener = listen(request["directory"])
        self._ended = os.pidfd_open(container.pid)
        self._code: int | None = None

    def attend(self, memory: "MemoryWatch | None") -> int:
        """Until the container has ended and all it wrote is passed on: its exit code."""
        self._tell("stdout", self._container.early_stderr)
        while self._sources or self._code is None:
            pause = None if memory is None or self._code is not None else memory.pause() * 1000
            for number, _ in self._poll().poll(pause):
                self._happened(number)
            if self._code is None and memory is not None and memory.exceeded():
                self._container.kill()
        self._say_goodbye()
        return self._code

    def _say_goodbye(self) -> None:
        """Let clients that read have what is left; the container's end does not wait for those that do not."""
        deadline = time.monotonic() + PATIENCE
        outlets = [outlet for client in self._clients for outlet in client.outlets.values()]
        while held := {outlet.descriptor: outlet for outlet in outlets if outlet.held}:
            left = deadline - time.monotonic()
            ready = select.select((), held, (), left)[1] if left > 0 else ()
            if not ready:
                break
            for number in ready:
                held[number].write()
        for client in self._clients:
            client.close()

    def _poll(self) -> select.poll:
        poll = select.poll()
        outlets = [outlet for client in self._clients for outlet in client.outlets.values()]
        if self._code is not None or not any(outlet.full for outlet in outlets):
            for number in self._sources:
                poll.register(number, select.POLLIN)
        if self._code is None:
            poll.register(self._ended, select.POLLIN)
        poll.register(self._listener.fileno(), select.POLLIN)
        for client in self._clients:
            poll.register(client.connection.fileno(), select.POLLIN)
            if client.stdin is not None and (self._stdin is None or not self._stdin.full):
                poll.register(client.stdin, select.POLLIN)
        for outlet in (*outlets, *([self._stdin] if self._stdin is not None else [])):
            if outlet.held:
                poll.register(outlet.descriptor, select.POLLOUT)
        return poll

    def _happened(self, number: int) -> None:
        if number == self._ended:
            self._code = self._container.reap()
        elif number == self._listener.fileno():
            self._join()
        elif number in self._sources:
            self._copy(number)
        elif self._stdin is not None and number == self._stdin.descriptor:
            self._stdin.write()
            self._close_stdin()
        else:
            self._of_client(number)

    def _copy(self, number: int) -> None:
        stream, data = self._sources[number], read(number)
        if data:
            self._tell(stream, data)
        else:
            del self._sources[number]

    def _tell(self, stream: str, data: bytes) -> None:
        if not data:
            return
        self._log.write(stream.encode(), data)
        for client in self._clients:
            if stream in client.outlets:
                client.outlets[stream].write(data)

    def _of_client(self, number: int) -> None:
        for client in self._clients:
            if number == client.connection.fileno():
                self._leave(client)
                return
            if number == client.stdin:
                self._hear(client, number)
                return
            for outlet in client.outlets.values():
                if number == outlet.descriptor:
                    outlet.write()
                    return

    def _hear(self, client: Client, number: int) -> None:
        try:
            data = os.read(number, CHUNK)
        except BlockingIOError:
            return
        if data:
            if self._stdin is not None:
                self._stdin.write(data)
            return
        os.close(number)
        client.stdin = None
        self._end_input()

    def _end_input(self) -> None:
        """A client has said all: where only one may speak, that is the end of the container's input."""
        if self._once and self._stdin is not None and self._terminal is None:
            self._stdin.last = True
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin is not None and (self._stdin.broken or (self._stdin.last and not self._stdin.held)):
            os.close(self._stdin.descriptor)
            self._stdin = None

    def _join(self) -> None:
        connection = self._listener.accept()[0]
        connection.settimeout(1)
        try:
            request, descriptors = receive(connection)
            send(connection, {}, () if self._terminal is None else (self._terminal,))
        except (OSError, Closed):
            connection.close()
            return
        self._clients.append(Client(connection, dict(zip(request["descriptors"], descriptors, strict=True))))

    def _leave(self, client: Client) -> None:
        """The client hung up; what it has sent is heard."""
        self._clients.remove(client)
        if client.stdin is not None:
            try:
                while data := os.read(client.stdin, CHUNK):
                    if self._stdin is not None:
                        self._stdin.write(data)
            except BlockingIOError:
                pass  # somebody else has the other end
            self._end_input()
        client.close()


def listen(directory: str) -> socket.socket:
    """Serve ``ATTACH`` in the directory, however long its path is."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{ATTACH}")
    finally:
        os.close(folder)
    listener.listen()
    return listener
