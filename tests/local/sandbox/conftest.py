"""A zygote on a data directory of its own, and the smallest file system in which a program runs."""

import os
import select
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from tests.programs import start_program

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

    def start_zygote(self) -> Popen[bytes]:
        argv = [sys.executable, "-m", "ketch.local.sandbox.main", "--data-dir", str(self.data), "--no-network"]
        return start_program(argv)

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
def text_of() -> Callable[[Container], str]:
    """The log of a container without its times and streams."""
    return logged
