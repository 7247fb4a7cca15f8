"""An image with a Python in it, made of the interpreter that runs the tests and the libraries that it needs."""

import functools
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.debian import debian_program
from tests.ociimages import OCI, BuiltImage, Entry, directory, hardlink, layer

LEFT_OUT = (
    "config-*",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
)
TOOLS = ("cat", "env", "id", "ls", "mkdir", "pwd", "sh", "sleep", "tar", "test", "touch", "true", "wc")
UNCOMPRESSED = f"{OCI}.layer.v1.tar"
PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1234:2345:app:/home/app:/bin/sh\n"
GROUP = b"root:x:0:\napps:x:2345:\n"


@functools.cache
def tools_layer() -> bytes:
    """A system: Debian's busybox-static, and two users."""
    busybox = debian_program("busybox-static", "bin/busybox").read_bytes()
    names = (hardlink(f"bin/{name}", "bin/busybox") for name in TOOLS)
    return layer(
        Entry("bin/busybox", busybox, 0o755),
        *names,
        Entry("etc/passwd", PASSWD),
        Entry("etc/group", GROUP),
        directory("home/app"),
        directory("root", 0o700),
        directory("tmp", 0o1777),
    )


@functools.cache
def python_layer() -> bytes:
    """Interpreter, library and shared objects, each where it is on this machine."""
    base = Path(sys.base_prefix)
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = base / "lib" / minor
    program = (base / "bin" / minor).resolve()
    objects = [program, *(library / "lib-dynload").glob("*.so")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(_needed(objects)):
            archive.add(path.resolve(), str(path), recursive=False)
        archive.add(program, str(program))
        archive.add(library, str(library), filter=_without_extras)
        for name in ("python3", "python"):
            link = tarfile.TarInfo(f"usr/bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, str(program)
            archive.addfile(link)
    return buffer.getvalue()


def _without_extras(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(member.name).parts
    return None if "__pycache__" in parts or any(Path(parts[-1]).match(pattern) for pattern in LEFT_OUT) else member


def _needed(objects: list[Path]) -> Iterator[Path]:
    """The shared libraries that the objects are linked with, and the loader, by the paths at which they are found."""
    environment = {**os.environ, "LC_ALL": "C"}
    told = subprocess.run(["ldd", *objects], capture_output=True, text=True, check=False, env=environment).stdout
    found = set(re.findall(r"(/\S+) \(0x", told))
    yield from (Path(path) for path in found)


def python_image(**process: Any) -> BuiltImage:
    """Both as an image."""
    settings = {"Env": ["PATH=/usr/bin:/bin"], **process}
    return BuiltImage([tools_layer(), python_layer()], settings, media_type=UNCOMPRESSED)
