"""Python interpreters of this machine, found by version. Nothing is downloaded."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

_DESCRIBE = "import json, sys; print(json.dumps([sys.executable, sys.base_prefix, *sys.version_info[:3]]))"


@dataclass(frozen=True)
class Interpreter:
    """One interpreter: its program, the prefix that holds it and its library, its version."""

    executable: Path
    prefix: Path
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        """``3.11``."""
        return f"{self.version[0]}.{self.version[1]}"


def own_interpreter() -> Interpreter:
    """The interpreter that the platform itself runs on."""
    version = sys.version_info
    executable = Path(sys.base_prefix) / "bin" / f"python{version[0]}.{version[1]}"
    return Interpreter(executable, Path(sys.base_prefix), (version[0], version[1], version[2]))


def beside_own(minor: str) -> str | None:
    """An interpreter in a folder beside the platform's own, as version managers place them; None when there is none."""
    found = Path(sys.base_prefix).parent.glob(f"*{minor}*/bin/python{minor}")
    return next((str(path) for path in sorted(found) if os.access(path, os.X_OK)), None)


async def _output(*argv: str) -> str | None:
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment
    )
    out, _ = await process.communicate()
    return out.decode().strip() if process.returncode == 0 else None


class Interpreters:
    """Looks for each version once."""

    def __init__(self) -> None:
        own = own_interpreter()
        self._found: dict[str, Interpreter] = {own.minor: own, "": own}

    async def find(self, minor: str) -> Interpreter | None:
        """An interpreter of that minor version (``""``: the platform's own); None when this machine has none."""
        if minor in self._found:
            return self._found[minor]
        path = beside_own(minor) or await _output(find_uv_bin(), "python", "find", "--system", "--no-project", minor)
        described = await _output(path, "-I", "-c", _DESCRIBE) if path else None
        if described is None:
            return None
        executable, prefix, *version = json.loads(described)
        found = self._found[minor] = Interpreter(Path(executable), Path(prefix), (version[0], version[1], version[2]))
        return found
