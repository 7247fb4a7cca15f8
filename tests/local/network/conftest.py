"""A real daemon per test, as root and as an ordinary user, and processes that live in its pods."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.ordinary import as_ordinary_user
from tests.programs import start_program

from ketch.local.network.client import NetworkClient
from ketch.local.network.holding import end_holder

# Enters the namespaces behind its first two arguments (-1: none), then becomes the program in the third, as their
# owner. What the program may import is read before: its owner may not be able to.
ENTER = """
import ctypes, encodings.idna, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
for number, kind in zip(sys.argv[1:3], (0x10000000, 0x40000000)):
    if number != "-1" and libc.setns(int(number), kind) != 0:
        raise OSError(ctypes.get_errno(), "setns")
os.setgid(0)
os.setuid(0)
libc.prctl(4, 1)  # may be looked at, as any program of its owner
exec(sys.argv[3])
"""

SERVE = """
import socket
server = socket.create_server(("", {port}))
print("up", flush=True)
while True:
    connection, peer = server.accept()
    connection.sendall(("{name} " + peer[0]).encode())
    connection.close()
"""

ASK = """
import socket
try:
    with socket.create_connection(("{host}", {port}), timeout=5) as connection:
        print(connection.makefile().read())
except OSError as error:
    print(type(error).__name__)
"""


class Pod:
    """A pod's network with processes in it."""

    def __init__(
        self, name: str, ip: str, descriptors: tuple[int, int], processes: list[subprocess.Popen[str]]
    ) -> None:
        self.name, self.ip = name, ip
        self._descriptors = descriptors
        self._processes = processes

    def start(self, code: str) -> subprocess.Popen[str]:
        """Start a Python program in the pod."""
        kept = tuple(number for number in self._descriptors if number >= 0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", ENTER, *map(str, self._descriptors), code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=kept,
            text=True,
        )
        self._processes.append(process)
        return process

    def run(self, code: str) -> str:
        """What a Python program prints in the pod."""
        output, _ = self.start(code).communicate(timeout=30)
        return output.strip()

    def serve(self, port: int) -> None:
        """Listen on ``port``; connections are told the pod's name and their own address."""
        process = self.start(SERVE.format(port=port, name=self.name))
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"

    def ask(self, host: str, port: int) -> str:
        """What the server at ``host`` says, or the error's name."""
        return self.run(ASK.format(host=host, port=port))


class Daemon:
    """The network daemon of one data directory."""

    def __init__(self, directory: Path, *, ordinary: bool) -> None:
        self.directory = directory
        self.client = NetworkClient(directory / "run" / "network.sock")
        self.environment: dict[str, str] = {}
        self._ordinary = ordinary
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        argv = [sys.executable, "-m", "ketch.local.network.daemon", "--data-dir", str(self.directory)]
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", **self.environment}
        self.process = start_program(as_ordinary_user(argv, self.directory) if self._ordinary else argv, environment)

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it with SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def _permitted(*, ordinary: bool) -> None:
    if not ordinary and os.geteuid() != 0:
        pytest.skip("only root makes network namespaces without a user namespace")
    if ordinary and os.geteuid() == 0 and not all(shutil.which(tool) for tool in ("unshare", "setpriv", "mount")):
        pytest.skip("becoming an ordinary user needs unshare, setpriv and mount (util-linux)")


@pytest.fixture(params=[pytest.param(False, id="root"), pytest.param(True, id="ordinary user")])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A running daemon."""
    ordinary: bool = request.param
    _permitted(ordinary=ordinary)
    directory = Path(tempfile.mkdtemp(prefix="ketch-net-", dir="/tmp"))
    made = Daemon(directory, ordinary=ordinary)
    try:
        made.start()
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.kill()
        end_holder(directory)
        shutil.rmtree(directory)


@pytest.fixture
async def isolated(daemon: Daemon) -> Daemon:
    """A daemon that can isolate pods."""
    info = await daemon.client.info()
    if info.mode != "isolated":
        pytest.skip(f"this machine permits no isolated network: {info.reason}")
    return daemon


@pytest.fixture
async def pod(isolated: Daemon) -> AsyncIterator[Callable[[str], "object"]]:
    """Makes pods by name."""
    processes: list[subprocess.Popen[str]] = []
    with contextlib.ExitStack() as stack:

        async def make(name: str) -> Pod:
            attachment = await isolated.client.attach(name)
            user = await isolated.client.user_namespace()
            assert attachment.netns_fd is not None
            for descriptor in (attachment.netns_fd, *(() if user is None else (user,))):
                stack.callback(os.close, descriptor)
            return Pod(name, attachment.ip, (-1 if user is None else user, attachment.netns_fd), processes)

        yield make
        for process in processes:
            process.kill()
            process.communicate()
