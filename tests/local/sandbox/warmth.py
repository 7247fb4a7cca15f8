"""Containers of one Python program, started cold and from a warm interpreter."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.local.sandbox.conftest import MACHINE

from ketch.local.sandbox import readying, template
from ketch.local.sandbox.container import Container
from ketch.local.sandbox.spec import Mount, TemplateSpec, WarmStart

PYTHON = "/usr/bin/python3"
PROGRAM, BESIDE = "/opt/ketch/warm/template.py", "/opt/ketch/warm/readying.py"
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
EXTRAS = ("decimal", "multiprocessing", "platform", "uuid", "xml.dom.minidom")
FURNITURE = frozenset(MACHINE)
IMPORTS = ("json", "logging", "random", "tempfile", "argparse")


@dataclass
class Warm:
    """Containers of one Python program, each way."""

    sandboxes: Any
    socket: Path
    folder: Path

    @property
    def pid(self) -> int:
        return json.loads(self.socket.with_suffix(template.REPORT_SUFFIX).read_text())["pid"]

    def write(self, source: str) -> None:
        """The module ``task``; those who read it meanwhile find it whole."""
        shutil.rmtree(self.folder / "__pycache__", ignore_errors=True)
        (self.folder / "task.new").write_text(source)
        (self.folder / "task.new").rename(self.folder / "task.py")

    async def begin(self, source: str, *arguments: str, warm: bool = True, **fields: Any) -> Container:
        """Start ``python3 -m task`` with the text as the module."""
        self.write(source)
        start = WarmStart(self.socket, "python3", "task", arguments, furniture=FURNITURE) if warm else None
        mounts = (Mount("bind", "/work", str(self.folder)), *fields.pop("mounts", ()))
        chosen = {"cwd": "/work", "env": ENV, **fields}
        argv = ("python3", "-m", "task", *arguments)
        container = await self.sandboxes.start(*argv, mounts=mounts, warm=start, **chosen)
        assert container.started.warm == warm
        return container

    async def run(self, source: str, *arguments: str, warm: bool = True, **fields: Any) -> tuple[int, str]:
        """How it ended, and all that it wrote."""
        container = await self.begin(source, *arguments, warm=warm, **fields)
        code = (await container.wait()).code
        return code, self.text(container)

    def text(self, container: Container) -> str:
        lines = (container.directory / "container.log").read_text().splitlines()
        return "\n".join(line.split(" ", 3)[3] for line in lines)

    async def both(self, source: str, *arguments: str, **fields: Any) -> tuple[tuple[int, str], tuple[int, str]]:
        """What comes of it cold, and warm."""
        cold = await self.run(source, *arguments, warm=False, **fields)
        return cold, await self.run(source, *arguments, **fields)


def template_spec(
    data: Path, mounts: tuple[Mount, ...], extras: tuple[str, ...] = (), idle: int = 900, python: str = PYTHON
) -> TemplateSpec:
    view = tuple(Mount("tmpfs", each.target, mode=each.mode) if each.kind == "scratch" else each for each in mounts)
    programs = Mount("ro-bind", PROGRAM, template.__file__), Mount("ro-bind", BESIDE, readying.__file__)
    folder = data / "run" / "warm"
    log, seen = folder / "t.log", (*view, *programs)
    return TemplateSpec(folder / "t", log, (python, PROGRAM), ENV, seen, IMPORTS, extras, idle, MACHINE)
