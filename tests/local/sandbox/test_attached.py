"""Commands on the caller's own streams: pipes, and a real terminal with its keys, size and jobs."""

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Iterator

import pytest
from tests.local.sandbox.conftest import Sandboxes

from ketch.local.sandbox.attached import AttachedCommand
from ketch.local.sandbox.errors import NotStarted, SandboxUnavailable, StartError

PATIENCE = 20.0


class Terminal:
    """A terminal's both ends, and what was written on it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def expect(self, text: str) -> None:
        """Wait until ``text`` was written since the last time."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.seen:
            assert select.select([self.ours], [], [], deadline - time.monotonic())[0], self.seen
            self.seen += os.read(self.ours, 4096)
        self.seen = self.seen.partition(text.encode())[2]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    os.close(made.ours)
    os.close(made.theirs)


async def attach(sandboxes: Sandboxes, terminal: Terminal, *argv: str) -> AttachedCommand:
    container = await sandboxes.start("sleep", "600")
    streams = [terminal.theirs] * 3
    socket = sandboxes.data / "run" / "keeper.sock"
    return AttachedCommand.start(socket, container.directory, argv, streams, terminal=True)


async def test_keys_reach_the_command_and_its_exit_code_comes_back(sandboxes: Sandboxes, terminal: Terminal):
    command = await attach(
        sandboxes, terminal, "sh", "-c", "trap 'echo got INT; exit 7' INT; echo rea''dy; sleep 60 & wait"
    )
    terminal.expect("ready")
    terminal.type("\x03")
    terminal.expect("got INT")
    assert command.code() == 7
    command.close()


async def test_the_command_has_a_controlling_terminal_of_our_size(sandboxes: Sandboxes, terminal: Terminal):
    fcntl.ioctl(terminal.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    command = await attach(sandboxes, terminal, "sh", "-c", "stty size < /dev/tty; test -t 0 && test -t 1 && echo tty")
    terminal.expect("33 111")
    terminal.expect("tty")
    assert command.code() == 0
    command.close()


async def test_an_interactive_shell_controls_its_jobs(sandboxes: Sandboxes, terminal: Terminal):
    command = await attach(sandboxes, terminal, "bash", "--norc", "-i")
    # One process from then on: a shell that waits for its child's exec could not stop.
    terminal.type("sh -c 'echo r''uns; exec sleep 60'\n")
    terminal.expect("\nruns")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.type("kill %1; exit 5\n")
    terminal.type("exit 5\n")
    assert command.code() == 5
    command.close()


async def test_who_goes_away_takes_the_command_along(sandboxes: Sandboxes, terminal: Terminal):
    command = await attach(sandboxes, terminal, "sh", "-c", "echo st''arted; sleep 4321")
    terminal.expect("started")
    command.close()
    deadline = time.monotonic() + PATIENCE
    container = sandboxes.started[-1]
    while (await sandboxes.client.exec(container, ["pgrep", "-x", "-f", "sleep 4321"])).code == 0:
        assert time.monotonic() < deadline


async def test_pipes_carry_bytes(sandboxes: Sandboxes):
    container = await sandboxes.start("sleep", "600")
    socket = sandboxes.data / "run" / "keeper.sock"
    (their_in, our_in), (our_out, their_out) = os.pipe(), os.pipe()
    streams = [their_in, their_out, their_out]
    command = AttachedCommand.start(socket, container.directory, ["tr", "a-z", "A-Z"], streams, terminal=False)
    os.close(their_in)
    os.close(their_out)
    os.write(our_in, b"hello")
    os.close(our_in)
    assert os.read(our_out, 100) == b"HELLO"
    assert command.code() == 0
    os.close(our_out)
    command.close()


async def test_what_cannot_run_is_told(sandboxes: Sandboxes, terminal: Terminal):
    with pytest.raises(StartError, match="executable file not found"):
        await attach(sandboxes, terminal, "absent")
    streams = [terminal.theirs] * 3
    socket = sandboxes.data / "run" / "keeper.sock"
    with pytest.raises(NotStarted):
        AttachedCommand.start(socket, sandboxes.data / "nowhere", ["true"], streams, terminal=True)
    with pytest.raises(SandboxUnavailable, match="does not answer"):
        AttachedCommand.start(sandboxes.data / "absent.sock", sandboxes.data, ["true"], streams, terminal=True)
