"""Manifests that say what must become of them.

A manifest is a file that ``kubectl apply -f`` takes. The comment at its head says what it shows, and, from the line
``# Steps:`` on, what is to be seen and done, as a list in YAML:

- ``see``: how the world must look, sooner or later, all of it at once (``worlds.differences``);
- ``do``: a kubectl command, or a list of them; with ``refused``, words of the refusal that it must meet.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("manifests")
STEPS = "Steps:"


@dataclass(frozen=True)
class Step:
    """One thing to do or to see."""

    see: Mapping[str, Any]
    commands: Sequence[Sequence[str]]
    refused: Sequence[str]


@dataclass(frozen=True)
class Manifest:
    """One file."""

    path: Path
    shows: str
    steps: Sequence[Step]

    def __str__(self) -> str:
        return f"{self.path.parent.name}-{self.path.stem}"

    @property
    def namespace(self) -> str:
        """One of its own."""
        return f"m-{self}"


def read(path: Path) -> Manifest:
    """The manifest with its head. Raises ValueError when the head says nothing."""
    lines: list[str] = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" "))
    if STEPS not in lines:
        raise ValueError(f'{path}: its head has no line "# {STEPS}"')
    start = lines.index(STEPS)
    steps = yaml.safe_load("\n".join(lines[start + 1 :]))
    shows = " ".join(filter(None, lines[:start]))
    if not shows or not steps:
        raise ValueError(f"{path}: its head must say what it shows, and steps")
    return Manifest(path, shows, [_step(path, each) for each in steps])


def _step(path: Path, raw: Mapping[str, Any]) -> Step:
    if unknown := set(raw) - {"see", "do", "refused"}:
        raise ValueError(f"{path}: a step knows no {', '.join(sorted(unknown))}")
    done = raw.get("do", [])
    commands = [done] if isinstance(done, str) else done
    refused = raw.get("refused", [])
    return Step(
        raw.get("see", {}), [shlex.split(each) for each in commands], [refused] if isinstance(refused, str) else refused
    )


MANIFESTS = [read(path) for path in sorted(FOLDER.glob("*/*.yaml"))]
