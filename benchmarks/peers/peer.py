"""One peer: its environment, its program, the figure that the program prints."""

import contextlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from uv import find_uv_bin

FIGURE = "SECONDS"
LONGEST = 900.0
"""Seconds after which a peer is given up."""

QUIET = {"DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Peer:
    """``chain`` and ``fan_out`` are programs; ``{steps}`` and ``{folder}`` in them are filled in. They print a line
    ``SECONDS <figure>`` for all steps together. ``most`` bounds the steps where one takes very long."""

    name: str
    requirement: str
    chain: str
    fan_out: str
    command: tuple[str, ...] = ("{python}", "{program}")
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    most_in_chain: int = 1000
    most_in_fan_out: int = 1000

    def chained(self, steps: int, folder: Path) -> float:
        """Seconds per step, one after the other. NaN, and its words on stderr, where the peer fails."""
        return self._seconds_per_step(self.chain, min(steps, self.most_in_chain), folder / f"{self.name}-chain")

    def fanned_out(self, steps: int, folder: Path) -> float:
        """Seconds per step of many that may run at once. NaN as above."""
        return self._seconds_per_step(self.fan_out, min(steps, self.most_in_fan_out), folder / f"{self.name}-fan-out")

    def _seconds_per_step(self, program: str, steps: int, folder: Path) -> float:
        python = environment_of(self.requirement, folder.parent) / "bin" / "python"
        folder.mkdir()
        path = folder / "program.py"
        path.write_text(program.replace("{steps}", str(steps)).replace("{folder}", str(folder)))
        words = {"python": str(python), "program": str(path)}
        own = {name: value.replace("{folder}", str(folder)) for name, value in self.environment.items()}
        search = f"{python.parent}:{os.environ['PATH']}"
        output = _output(
            [word.format(**words) for word in self.command], {**os.environ, **QUIET, **own, "PATH": search}, folder
        )
        for line in output.splitlines():
            if line.startswith(FIGURE):
                return float(line.split()[1]) / steps
        print(f"{self.name} failed: {output[-3000:]}", file=sys.stderr)
        return math.nan


@cache
def environment_of(requirement: str, folder: Path) -> Path:
    """A virtual environment with that requirement alone."""
    home, uv = folder / f"environment-{requirement.partition('==')[0]}", find_uv_bin()
    subprocess.run([uv, "venv", "-q", "--seed", "--python", sys.executable, str(home)], check=True)
    python = str(home / "bin" / "python")
    subprocess.run([uv, "pip", "install", "-q", "--python", python, *requirement.split()], check=True)
    return home


def _output(command: list[str], environment: Mapping[str, str], folder: Path) -> str:
    """What the command printed. It and all that it left behind are ended: they are a session of their own."""
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            output.write(f"\nnot done after {LONGEST:.0f} s\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return output.read()
