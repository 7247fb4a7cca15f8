"""What is killed: any process of the platform, those that stand between it and its containers, or all of them."""

import contextlib
import json
import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.e2e.platforms import Platform, start_platform

PROGRAMS = ("control-plane", "node-agent", "network", "keeper", "gateway")


def kill(*pids: int | None) -> None:
    for pid in pids:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def templates(platform: Platform) -> Sequence[int]:
    """The warm interpreters."""
    found = [_read(path).get("pid") for path in (platform.root / "run" / "warm").glob("*.json")]
    return [pid for pid in found if pid is not None and Path(f"/proc/{pid}").exists()]


def keepers_of(platform: Platform, uid: str) -> Sequence[int]:
    """The keepers of a pod's containers."""
    records = (platform.root / "pods" / uid).glob("containers/*/*/started.json")
    return [pid for path in records if (pid := _read(path).get("keeper_pid")) is not None]


class Killer:
    """kill -9 by name, at chance."""

    def __init__(self, platform: Platform, chance: random.Random, ports: Sequence[str]) -> None:
        self._platform = platform
        self._chance = chance
        self._ports = ports
        self.kinds: Mapping[str, Callable[[], None]] = {
            **{name: lambda name=name: kill(self._program(name)) for name in PROGRAMS},
            "holder": lambda: kill(_read(platform.root / "run" / "network.json").get("holder", {}).get("pid")),
            "templates": lambda: kill(*templates(platform)),
            "nurseries": lambda: kill(*map(parent, templates(platform))),
            "two": lambda: kill(*(self._program(name) for name in chance.sample(PROGRAMS, 2))),
            "all": lambda: kill(*map(self._program, PROGRAMS)),
            "all one after the other": self._in_turn,
            "supervisor": self._supervisor,
        }

    def _program(self, name: str) -> int | None:
        return self._platform.record()["processes"][name]["pid"]

    def _in_turn(self) -> None:
        for name in self._chance.sample(PROGRAMS, len(PROGRAMS)):
            kill(self._program(name))

    def _supervisor(self) -> None:
        kill(self._platform.record()["pid"])
        start_platform(self._platform.root, lambda command: [*command, *self._ports])
