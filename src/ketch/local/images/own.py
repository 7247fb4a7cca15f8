"""The platform's own programs as an image: its interpreter, its packages and itself, all read-only."""

import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from ketch.local.images.interpreters import Interpreter
from ketch.local.images.rootfs import outside_system
from ketch.local.sandbox.spec import Mount

PROGRAM = "/opt/ketch/program"
PACKAGES = "/opt/ketch/packages"
SEARCH = f"{PROGRAM}:{PACKAGES}"
"""PYTHONPATH of these containers."""

_SELF = Path(__file__).parents[2]


def own_mounts(interpreter: Interpreter, programs: str) -> Iterator[Mount]:
    """What lies over the system; the interpreter is ``python3`` below ``programs``."""
    yield Mount("directory", PROGRAM)
    yield Mount("ro-bind", f"{PROGRAM}/{_SELF.name}", str(_SELF))
    yield Mount("ro-bind", PACKAGES, sysconfig.get_path("platlib"))
    yield Mount("symlink", f"{programs}/python3", str(interpreter.executable))
    if outside_system(interpreter.prefix):
        yield Mount("ro-bind", str(interpreter.prefix), str(interpreter.prefix))


def own_digest() -> str:
    """Names the content: another installation, another image."""
    return hashlib.sha256(f"own {_SELF} {sysconfig.get_path('platlib')}".encode()).hexdigest()
