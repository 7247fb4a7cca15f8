"""A command in a running container whose input and output are the caller's own: files, pipes, or a terminal."""

import array
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ketch.local.sandbox import errors
from ketch.local.sandbox.wire import Closed, encode, prefix, receive

STREAMS = ("stdin", "stdout", "stderr")


class AttachedCommand:
    """One command while it runs. It ends when this is closed, also by the caller's death."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def start(
        cls, socket_path: Path, directory: Path, argv: Sequence[str], streams: Sequence[int], *, terminal: bool
    ) -> Self:
        """Run ``argv`` in the container started in ``directory``, on ``streams`` (stdin, stdout, stderr).

        With ``terminal`` they are one, and it becomes the command's controlling terminal. Raises SandboxError.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        request = {
            "operation": "exec",
            "descriptors": list(STREAMS),
            "directory": str(directory.absolute()),
            "argv": list(argv),
            "terminal": terminal,
        }
        payload = encode(request)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
        command = cls(connection)
        try:
            connection.connect(str(socket_path))
            connection.sendmsg([prefix(payload)], rights)
            connection.sendall(payload)
            command._answer()  # it runs
        except OSError as error:
            connection.close()
            message = f"the keeper does not answer at {socket_path}: {error.strerror}"
            raise errors.SandboxUnavailable(message) from error
        except errors.SandboxError:
            connection.close()
            raise
        return command

    def fileno(self) -> int:
        """Readable once the command has ended."""
        return self._connection.fileno()

    def code(self) -> int:
        """Its exit code, once it has ended. Raises SandboxUnavailable when the keeper ended before it could tell."""
        return int(self._answer()["code"])

    def close(self) -> None:
        """End it, if it still runs."""
        self._connection.close()

    def _answer(self) -> "dict[str, int]":
        try:
            answer, descriptors = receive(self._connection)
        except (Closed, OSError) as error:
            raise errors.SandboxUnavailable("the keeper ended before it answered") from error
        for descriptor in descriptors:
            os.close(descriptor)
        if "error" in answer:
            raise errors.from_answer(answer)
        return answer
