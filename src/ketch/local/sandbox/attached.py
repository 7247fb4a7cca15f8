"""What a caller holds of a running container: commands on its own streams (files, pipes, a terminal), connections."""

import array
import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ketch.local.processes import session_members
from ketch.local.sandbox import errors
from ketch.local.sandbox.interactive import ATTACH
from ketch.local.sandbox.wire import Closed, encode, prefix, receive

STREAMS = ("stdin", "stdout", "stderr")
KILL_ROUNDS = 10
"""Looks for who is left of a session: a process that forks while it is killed leaves one more."""


class AttachedCommand:
    """One command while it runs. It ends when this is closed, also by the caller's death.

    ``pid`` is its process, as the platform sees it. ``terminal`` is the other end of a terminal that was made for it;
    to close that is the caller's.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = 0
        self.terminal: int | None = None

    @classmethod
    def start(
        cls,
        socket_path: Path,
        directory: Path,
        argv: Sequence[str],
        streams: Sequence[int],
        *,
        terminal: bool,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """Run ``argv`` in the container started in ``directory``, on ``streams`` (stdin, stdout, stderr).

        With ``terminal`` they are one, and it becomes the command's controlling terminal; without any, a terminal is
        made for it in the container. ``env`` is added to the container's. Raises SandboxError.
        """
        request = {
            "operation": "exec",
            "descriptors": list(STREAMS) if streams else [],
            "directory": str(directory.absolute()),
            "argv": list(argv),
            "terminal": terminal,
            "env": dict(env or {}),
        }
        command = cls(_asked(socket_path, request, streams))
        try:
            answer, descriptors = command._answer()  # it runs
        except errors.SandboxError:
            command.close()
            raise
        command.pid = answer["pid"]
        command.terminal = descriptors[0] if descriptors else None
        return command

    def fileno(self) -> int:
        """Readable once the command has ended."""
        return self._connection.fileno()

    def code(self) -> int:
        """Its exit code, once it has ended. Raises SandboxUnavailable when the keeper ended before it could tell."""
        return self._answer()[0]["code"]

    def end(self) -> None:
        """End it and all it started, but for those that began a session of their own; its code can be asked for then.

        Only while it was not told that it has ended: until then its number is nobody else's.
        """
        for _ in range(KILL_ROUNDS):
            found = session_members(self.pid)
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not found:
                return

    def close(self) -> None:
        """Hang up: the command ends, if it still runs."""
        self._connection.close()

    def _answer(self) -> tuple[dict[str, int], list[int]]:
        self._connection.setblocking(True)  # whoever waited for it in a loop may have left it otherwise
        return _answered(self._connection)


class Attachment:
    """The caller's own streams joined to those of a container that has a stdin or a terminal (``interactive``)."""

    def __init__(self, directory: Path, streams: Mapping[str, int]) -> None:
        """Hand over the other ends of ``streams``: "stdin", "stdout", "stderr". Raises SandboxError."""
        folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            place = Path(f"/proc/self/fd/{folder}/{ATTACH}")
            self._connection = _asked(place, {"descriptors": list(streams)}, list(streams.values()))
        finally:
            os.close(folder)
        try:
            _, descriptors = _answered(self._connection)
        except errors.SandboxError:
            self._connection.close()
            raise
        self.terminal = descriptors[0] if descriptors else None
        """The container's, if it has one; to close that is the caller's."""

    def fileno(self) -> int:
        """Readable once the container has ended."""
        return self._connection.fileno()

    def close(self) -> None:
        """Go away again."""
        self._connection.close()


def connect(socket_path: Path, directory: Path, port: int) -> socket.socket:
    """A connection to a TCP port on the loopback of the container started in ``directory``. Raises SandboxError."""
    request = {"operation": "connect", "descriptors": list[str](), "directory": str(directory.absolute()), "port": port}
    with _asked(socket_path, request, ()) as connection:
        return socket.socket(fileno=_answered(connection)[1][0])


def _asked(socket_path: Path, request: Mapping[str, object], descriptors: Sequence[int]) -> socket.socket:
    """A connection to the keeper that has been asked. Raises SandboxUnavailable."""
    payload = encode(request)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(socket_path))
        connection.sendmsg([prefix(payload)], rights)
        connection.sendall(payload)
    except OSError as error:
        connection.close()
        message = f"the keeper does not answer at {socket_path}: {error.strerror}"
        raise errors.SandboxUnavailable(message) from error
    return connection


def _answered(connection: socket.socket) -> tuple[dict[str, int], list[int]]:
    try:
        answer, descriptors = receive(connection)
    except (Closed, OSError) as error:
        raise errors.SandboxUnavailable("the keeper ended before it answered") from error
    if "error" in answer:
        raise errors.from_answer(answer)
    return answer, descriptors
