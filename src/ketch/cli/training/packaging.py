"""What a user names as a program, and the files that travel with it, as the contents of one ConfigMap.

Nothing of it is run or imported here.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, Final

FOLDER: Final = "/ketch/program"
LAUNCHER: Final = "ketch_launcher.py"
ENTRY: Final = "ketch_entry.py"
LARGEST: Final = 1 << 20
"""Bytes that a ConfigMap may hold."""

_FUNCTION: Final = re.compile(r"(?P<where>.+):(?P<name>[A-Za-z_]\w*)")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "venv"})
_ENTRY_TEXT: Final = """\
import importlib

function = getattr(importlib.import_module({module!r}), {name!r})
function(*{positional!r}, **{named!r})
"""


class PackagingProblem(Exception):
    """What was named cannot travel; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """A program: its files by their paths, which of them is started, and what it is told."""

    name: str
    script: str
    arguments: Sequence[str]
    files: Mapping[str, bytes] = field(repr=False)

    def config_map(self) -> dict[str, Any]:
        """Its files as ``data`` and ``binaryData``; keys are numbers, since paths may not be keys."""
        data: dict[str, str] = {}
        binary: dict[str, str] = {}
        for number, content in enumerate(self.files.values()):
            try:
                data[str(number)] = content.decode()
            except UnicodeDecodeError:
                binary[str(number)] = base64.b64encode(content).decode()
        return {"data": data, **({"binaryData": binary} if binary else {})}

    def items(self) -> list[dict[str, str]]:
        """Where each key of the ConfigMap belongs below the folder."""
        return [{"key": str(number), "path": path} for number, path in enumerate(self.files)]


def is_program(words: str) -> bool:
    """Whether the user means a file or a function, and not a job by its name or ``kind/name``."""
    return words.endswith(".py") or ":" in words or Path(words).is_file()


def package(words: str, arguments: Sequence[str], beside: Iterable[Path] = ()) -> Program:
    """The program that ``words`` name: a ``script.py``, ``script.py:function`` or ``package.module:function``.

    ``beside`` are files and folders that travel with it. Raises PackagingProblem.
    """
    function = _FUNCTION.fullmatch(words)
    if function is None:
        path = Path(words)
        if not path.is_file():
            raise PackagingProblem(f"there is no file {words}")
        found, script, told = {path.name: _read(path)}, path.name, list(arguments)
    else:
        where, name = function["where"], function["name"]
        module, found = _module(where)
        positional, named = _values(arguments)
        text = _ENTRY_TEXT.format(module=module, name=name, positional=positional, named=named)
        found[ENTRY], script, told = text.encode(), ENTRY, []
        _check_function(found, module, name, words)
    for each in beside:
        found |= _beside(each)
    found[LAUNCHER] = files(__package__ or "").joinpath("launcher.py").read_bytes()
    size = sum(len(content) for content in found.values())
    if size > LARGEST:
        raise PackagingProblem(
            f"the program and what travels with it have {size / (1 << 20):.1f} MiB: at most 1 MiB travels;"
            " keep data on a volume, or fetch it"
        )
    stem = (Path(script).stem if function is None else function["name"]).lower()
    return Program(re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "train", script, told, found)


def _module(where: str) -> tuple[str, dict[str, bytes]]:
    """A module's name, and the files that make it: its file, or all of the package that it is in."""
    if where.endswith(".py"):
        path = Path(where)
        if not path.is_file():
            raise PackagingProblem(f"there is no file {where}")
        if not path.stem.isidentifier():
            raise PackagingProblem(f"{path.name} is no name of a module: a function can only be had of one that is")
        return path.stem, {path.name: _read(path)}
    if not _MODULE.fullmatch(where):
        raise PackagingProblem(f"{where} is no module: name a function as module:function or script.py:function")
    top, *inner = where.split(".")
    if inner or Path(top).is_dir():
        if not Path(top).is_dir():
            raise PackagingProblem(f"there is no package {top} in {Path.cwd()}")
        found = _beside(Path(top))
        below = "/".join((top, *inner))
        if f"{below}.py" not in found and f"{below}/__init__.py" not in found:
            raise PackagingProblem(f"the package {top} has no module {where}")
        return where, found
    path = Path(f"{top}.py")
    if not path.is_file():
        raise PackagingProblem(f"there is no module {top} in {Path.cwd()}: it must be {path} or a folder {top}")
    return top, {path.name: _read(path)}


def _check_function(found: Mapping[str, bytes], module: str, name: str, words: str) -> None:
    """A function that is plainly not there is told of now; one that is imported or made may well be."""
    below = module.replace(".", "/")
    text = found.get(f"{below}.py", found.get(f"{below}/__init__.py", b"")).decode(errors="replace")
    if not re.search(rf"\b{name}\b", text):
        raise PackagingProblem(f"{words}: there is no {name} in {module}")


def _beside(path: Path) -> dict[str, bytes]:
    """A file by its name, or all files of a folder below the folder's name; of ``.`` by themselves."""
    if path.is_file():
        return {path.name: _read(path)}
    if not path.is_dir():
        raise PackagingProblem(f"there is no file or folder {path} to travel with the program")
    above = path if path == Path() else path.parent
    found: dict[str, bytes] = {}
    size = 0
    for each in sorted(path.rglob("*")):
        relative = each.relative_to(above)
        if each.is_file() and not _is_left_out(relative):
            size += each.stat().st_size
            if size > LARGEST:
                raise PackagingProblem(f"{path} holds more than the 1 MiB that travels: name the files that are needed")
            found[str(PurePosixPath(relative))] = _read(each)
    return found


def _is_left_out(relative: Path) -> bool:
    return any(part in _LEFT_OUT or (part.startswith(".") and part != "..") for part in relative.parts)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackagingProblem(f"cannot read {path}: {error.strerror}") from error


def _values(arguments: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a function: ``name=value`` or ``value``, as JSON where they are, else as text."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for text in arguments:
        name, separator, value = text.partition("=")
        if separator and name.isidentifier():
            named[name] = _value(value)
        else:
            positional.append(_value(text))
    return positional, named


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
