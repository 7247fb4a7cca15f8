"""A zygote on a data directory of its own, and the smallest file system in which a program runs."""

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.sandbox.client import SandboxClient
from ketch.local.sandbox.container import Container
from ketch.local.sandbox.spec import ContainerSpec, Mount

MACHINE = tuple(
    Mount("symlink", str(path), str(path.readlink())) if path.is_symlink() else Mount("ro-bind", str(path), str(path))
    for path in map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib64"))
    if path.exists()
)


class Sandboxes:
    """What a test has in its hands: a data directory, its zygote (started again at will), containers to start."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.client = SandboxClient(data / "run" / "keeper.sock")
        self.started: list[Container] = []
        self.zygote = self.start_zygote()

    def start_zygote(self) -> "subprocess.Popen[bytes]":
        ready, tell = os.pipe()
        argv = [sys.executable, "-m", "ketch.local.sandbox.main", "--data-dir", str(self.data), "--no-network"]
        process = subprocess.Popen(argv, pass_fds=(tell,), env={**os.environ, "KETCH_READY_FD": str(tell)})
        os.close(tell)
        assert os.read(ready, 16) == b"ready\n"
        os.close(ready)
        return process

    def kill_zygote(self) -> None:
        self.zygote.kill()
        self.zygote.wait()

    def spec(self, *argv: str, mounts: tuple[Mount, ...] = (), **fields: Any) -> ContainerSpec:
        directory = Path(tempfile.mkdtemp(dir=self.data / "pods")) / "container"
        scratch = (Mount("scratch", "/tmp", mode=0o1777), Mount("scratch", "/root", mode=0o700))
        env = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
        chosen = {"env": env, "log": directory / "container.log", **fields}
        return ContainerSpec(directory=directory, argv=argv, mounts=(*MACHINE, *scratch, *mounts), **chosen)

    async def start(self, *argv: str, **fields: Any) -> Container:
        spec = self.spec(*argv, **fields)
        await self.client.start(spec)
        container = Container.adopt(spec.directory)
        self.started.append(container)
        return container

    async def run(self, script: str, **fields: Any) -> tuple[int, str]:
        """The exit code of a shell script in a container, and what it wrote."""
        container = await self.start("sh", "-c", script, **fields)
        code = (await container.wait()).code
        return code, logged(container)


def logged(container: Container) -> str:
    lines = (container.directory / "container.log").read_text().splitlines()
    return "\n".join(line.split(" ", 3)[3] for line in lines)


def end(container: Container) -> None:
    """Kill the container and wait for its keeper, which still writes to the directory."""
    try:
        keeper = os.pidfd_open(container.started.keeper_pid)
    except ProcessLookupError:
        return
    container.kill()
    select.select([keeper], [], [])
    os.close(keeper)


@pytest.fixture
def sandboxes() -> Iterator[Sandboxes]:
    data = Path(tempfile.mkdtemp(prefix="ketch-"))  # short: Unix sockets have little room
    for name in ("run", "pods", "secrets"):
        (data / name).mkdir(mode=0o700)
    (data / "secrets" / "key").write_text("secret")
    box = Sandboxes(data)
    yield box
    for container in box.started:
        end(container)
    box.kill_zygote()
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Any]:
    """Wait for something that happens in other processes."""

    async def wait(happened: Callable[[], bool]) -> None:
        deadline = SYSTEM_CLOCK.monotonic() + 30
        while not happened():
            assert SYSTEM_CLOCK.monotonic() < deadline, "it did not happen"
            await SYSTEM_CLOCK.sleep(0.01)

    return wait


@pytest.fixture
def text_of() -> Callable[[Container], str]:
    """The log of a container without its times and streams."""
    return logged
