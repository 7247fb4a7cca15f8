"""The user's terminal joined to a command in a container: keys, size and exit code go through as they are."""

import errno
import fcntl
import os
import select
import shutil
import signal
import struct
import sys
import termios
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ketch.local.sandbox.attached import AttachedCommand

CHUNK = 1 << 16
STDIN, STDOUT, STDERR = 0, 1, 2


def run(socket_path: Path, container: Path, argv: Sequence[str]) -> int:
    """Run ``argv`` in the container: on a terminal of its own where we have one, else on our streams. Its exit code.

    Raises SandboxError.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _on_streams(socket_path, container, argv)
    return _on_terminal(socket_path, container, argv)


def _on_streams(socket_path: Path, container: Path, argv: Sequence[str]) -> int:
    command = AttachedCommand.start(socket_path, container, argv, (STDIN, STDOUT, STDERR), terminal=False)
    try:
        return command.code()
    finally:
        command.close()


def _on_terminal(socket_path: Path, container: Path, argv: Sequence[str]) -> int:
    ours, theirs = os.openpty()
    try:
        _copy_size(ours)
        try:
            command = AttachedCommand.start(socket_path, container, argv, [theirs] * 3, terminal=True)
        finally:
            os.close(theirs)
        try:
            with _raw(), _resized(ours):
                _proxy(command, ours)
            return command.code()
        finally:
            command.close()
    finally:
        os.close(ours)


def _proxy(command: AttachedCommand, ours: int) -> None:
    """Bytes both ways until the command has ended and all it wrote is shown."""
    sources: list[int | AttachedCommand] = [STDIN, ours, command]
    while True:
        ready = select.select(sources, (), ())[0]
        if STDIN in ready:
            keys = os.read(STDIN, CHUNK)
            if keys:
                _write(ours, keys)
            else:
                sources.remove(STDIN)
        if ours in ready and not _show(ours):
            return  # nobody has the other end any more
        if command in ready and ours not in select.select([ours], (), (), 0)[0]:
            return


def _show(ours: int) -> bool:
    try:
        output = os.read(ours, CHUNK)
    except OSError as error:
        if error.errno != errno.EIO:  # what Linux says of a terminal that nobody has open
            raise
        return False
    _write(STDOUT, output)
    return bool(output)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def _raw() -> Generator[None]:
    """Keys come as they are typed, none of them means anything here."""
    before = termios.tcgetattr(STDIN)
    tty.setraw(STDIN, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)


@contextmanager
def _resized(ours: int) -> Generator[None]:
    def resize(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's signature
        _copy_size(ours)

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        _copy_size(ours)
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy_size(ours: int) -> None:
    size = shutil.get_terminal_size()
    try:
        real = os.get_terminal_size(STDIN)
    except OSError:
        real = size
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", real.lines, real.columns, 0, 0))
