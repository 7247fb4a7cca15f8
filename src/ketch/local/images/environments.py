"""Python environments: built by uv, kept by their content, never changed once they stand.

An environment's folder is named by the hash of what goes into it; a build happens beside its place and is renamed into
it, so a folder that is there is whole. Containers see it under ``MOUNT``, writable for themselves alone.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from uv import find_uv_bin

from ketch.local.images.front import INSTALLED, UV_S_SETTINGS, VERSION
from ketch.local.images.interpreters import Interpreter
from ketch.local.images.rootfs import system_trust

MOUNT = "/opt/environment"
FORMAT = 1
"""Grows when environments of the same content must be built anew."""

FRONT = Path(__file__).with_name("front.py")
ENDING = Path(__file__).with_name("ending.py")
# The Pipelines SDK asks for certificate bundles newer than some mirrors carry; it only needs some bundle.
OVERRIDES = "certifi>=2025.1\n"
LAST_WORDS = 2000
BUILDING = ".building-"
"""How the names of folders begin in which something is being built."""
_NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SEPARATORS = re.compile(r"[-_.]+")


class BuildFailed(Exception):
    """uv could not build the environment; the message ends with its own words."""


class Content(NamedTuple):
    """What an environment is made of."""

    interpreter: Interpreter
    requirements: tuple[str, ...]
    alone: tuple[str, ...]
    index_urls: tuple[str, ...]

    @property
    def key(self) -> str:
        """The hash that names it: the same content, the same environment."""
        parts = [FORMAT, str(self.interpreter.executable), self.interpreter.version, self.requirements, self.alone]
        parts += [self.index_urls, FRONT.read_text(), ENDING.read_text()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def project_name(requirement: str) -> str:
    """The normalized name of the project that a requirement asks for; the text itself for a URL or a path."""
    found = _NAME.match(requirement)
    return _SEPARATORS.sub("-", found[1]).lower() if found else requirement


def merged_requirements(base: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """``base`` with ``wanted`` added; what ``wanted`` names it decides. Sorted, without repetition."""
    return tuple(sorted({*without(base, wanted), *wanted}))


def without(requirements: Sequence[str], others: Sequence[str]) -> Sequence[str]:
    """Those of ``requirements`` whose projects ``others`` does not name."""
    names = {project_name(item) for item in others}
    return [item for item in requirements if project_name(item) not in names]


class Environments:
    """The environments of one data directory. Each is built once, however many ask for it meanwhile.

    What a builder that was killed left behind is removed before the first build: a directory has one builder at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._building: dict[str, asyncio.Task[Path]] = {}
        self._swept = False

    async def ensure(self, content: Content) -> Path:
        """The folder of the environment, built if it is not there. Raises BuildFailed."""
        key = content.key
        path = self._folder / key
        if path.is_dir():
            return path
        task = self._building.get(key)
        if task is None:
            task = self._building[key] = asyncio.create_task(self._build(content, path))
            task.add_done_callback(lambda built: self._ended(key, built))
        return await asyncio.shield(task)

    def _ended(self, key: str, built: asyncio.Task[Path]) -> None:
        self._building.pop(key, None)
        if not built.cancelled():
            built.exception()  # those who still wait are told; none may be left, and asyncio would complain of it

    async def _build(self, content: Content, path: Path) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        left = [] if self._swept else list(self._folder.glob(f"{BUILDING}*"))
        self._swept = True
        partial = Path(tempfile.mkdtemp(prefix=BUILDING, dir=self._folder))
        try:
            for each in left:
                await asyncio.to_thread(shutil.rmtree, each, ignore_errors=True)
            await self._make(content, partial / "environment", partial)
            _put_in_place(partial / "environment", path)
        finally:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        return path

    async def _make(self, content: Content, target: Path, scratch: Path) -> None:
        python = str(content.interpreter.executable)
        await _uv("venv", "--quiet", "--relocatable", "--no-project", "--python", python, str(target))
        options = ["--quiet", "--compile-bytecode", "--python", str(target / "bin" / "python")]
        for number, url in enumerate(content.index_urls):
            options += ["--extra-index-url" if number else "--index-url", url]
        if content.requirements:
            overrides = scratch / "overrides.txt"
            overrides.write_text(OVERRIDES)
            await _uv("pip", "install", *options, "--overrides", str(overrides), "--", *content.requirements)
        if content.alone:
            await _uv("pip", "install", *options, "--no-deps", "--", *content.alone)
        _put_front(target, content.interpreter.minor, whole=not content.alone)
        _put_ending(target, content.interpreter.minor)
        await _run(str(target / "bin" / "python"), "-I", "-m", "compileall", "-q", str(target / "lib"), forgiving=True)


def _put_in_place(built: Path, path: Path) -> None:
    """Give a finished environment its name, unless another process was quicker."""
    try:
        built.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def _put_front(target: Path, minor: str, *, whole: bool) -> None:
    """Put our ``pip`` where the interpreter and shells find one. ``whole``: no package lacks another."""
    library = target / "lib" / f"python{minor}" / "site-packages" / "pip"
    shutil.rmtree(library, ignore_errors=True)
    library.mkdir()
    (library / "__init__.py").write_text(f'__version__ = "{VERSION}"\n')
    shutil.copyfile(FRONT, library / "__main__.py")
    if whole:
        installed = sorted(path.name.removesuffix(".dist-info") for path in library.parent.glob("*.dist-info"))
        (library / INSTALLED).write_text("\n".join(installed))
    for name in ("pip", "pip3"):
        script = target / "bin" / name
        script.write_text('#!/bin/sh\nexec "$(dirname "$(realpath "$0")")/python3" -m pip "$@"\n')
        script.chmod(0o755)


def _put_ending(target: Path, minor: str) -> None:
    """Beside PyTorch, what keeps its threads from aborting a process that ends."""
    library = target / "lib" / f"python{minor}" / "site-packages"
    if (library / "torch" / "distributed").is_dir():
        shutil.copyfile(ENDING, library / "ketch_ending.py")
        (library / "ketch_ending.pth").write_text("import ketch_ending\n")


async def _uv(*arguments: str) -> None:
    await _run(find_uv_bin(), *arguments)


async def _run(*argv: str, forgiving: bool = False) -> None:
    """Run a program to its end. Raises BuildFailed with its last words, unless ``forgiving``."""
    environment = {**system_trust(), **os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    for name, uv_name in UV_S_SETTINGS.items():
        if name in environment:
            environment.setdefault(uv_name, environment[name])
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode and not forgiving:
        raise BuildFailed(said.decode(errors="replace").strip()[-LAST_WORDS:])
