"""What the machine and the containers on it use: processor time over a window, and memory.

Nothing is measured until somebody asks. A container's processes are those of its PID namespace, also commands that
were run in it later; what children that have ended used is counted with their parents.
"""

import asyncio
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psutil

from ketch.kube.clock import Clock
from ketch.local.sandbox.memory import proportional

SHORTEST_WINDOW, LONGEST_WINDOW = 0.5, 60.0
"""Seconds between the two looks that make a rate. Who asks after a long time waits for the shortest."""

TICKS = os.sysconf("SC_CLK_TCK")
USER_TIME, LAST_TIME = 11, 15
"""Where /proc/<pid>/stat has processor times behind the command's name: the process's own, and its children's."""

STOLEN = 9
"""Behind which /proc/stat counts some time again, as that of virtual machines."""


class ContainerName(NamedTuple):
    """A container of a pod."""

    pod: str
    container: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One container: seconds of processor time since it started, bytes of memory."""

    seconds: float
    memory: int


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    time: datetime
    moment: float
    machine: Measured
    containers: Mapping[ContainerName, Measured] = field(default_factory=dict[ContainerName, Measured])


@dataclass(frozen=True, slots=True)
class Use:
    """Cores and bytes."""

    cores: float
    memory: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used, over the ``window`` that ended at ``time``."""

    time: datetime
    window: float
    machine: Use
    containers: Mapping[ContainerName, Use]


class Meter:
    """Measures when it is asked; remembers what it saw for as long as rates may reach back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: deque[Look] = deque()
        self._asking = asyncio.Lock()

    async def usage(self, processes: Mapping[ContainerName, int]) -> Usage:
        """What the containers use, whose main ``processes`` are given, and the machine."""
        async with self._asking:
            moment = self._clock.monotonic()
            while self._looks and self._looks[0].moment < moment - LONGEST_WINDOW:
                self._looks.popleft()
            if not self._looks:
                await self._look(processes)
            elif moment - self._looks[-1].moment < SHORTEST_WINDOW and len(self._looks) > 1:
                return between(self._looks[0], self._looks[-1])
            if (missing := SHORTEST_WINDOW - (self._clock.monotonic() - self._looks[0].moment)) > 0:
                await self._clock.sleep(missing)
            await self._look(processes)
            return between(self._looks[0], self._looks[-1])

    async def _look(self, processes: Mapping[ContainerName, int]) -> None:
        time, moment = self._clock.now(), self._clock.monotonic()
        machine, containers = await asyncio.to_thread(look, processes)
        self._looks.append(Look(time, moment, machine, containers))


def between(first: Look, last: Look) -> Usage:
    """The rates between two looks. A container that began in between used nothing before. Pure."""
    window = max(last.moment - first.moment, 1 / TICKS)

    def use(name: ContainerName | None, now: Measured) -> Use:
        before = first.machine if name is None else first.containers.get(name)
        used = now.seconds - (before.seconds if before is not None else 0.0)
        return Use(max(0.0, used) / window, now.memory)

    containers = {name: use(name, each) for name, each in last.containers.items()}
    return Usage(last.time, window, use(None, last.machine), containers)


def look(processes: Mapping[ContainerName, int]) -> tuple[Measured, Mapping[ContainerName, Measured]]:
    """The machine and the containers as they are now."""
    spaces = {space: name for name, pid in processes.items() if (space := pid_namespace(pid)) is not None}
    members: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):  # noqa: PTH208  # hundreds of names, of which nothing but the name is wanted
        if entry.isdigit() and (space := pid_namespace(int(entry))) in spaces:
            members[space].append(int(entry))
    memory = psutil.virtual_memory()
    machine = Measured(_busy_seconds(), memory.total - memory.available)
    return machine, {spaces[space]: _measured(pids) for space, pids in members.items()}


def _busy_seconds() -> float:
    with open("/proc/stat", "rb") as file:  # noqa: PTH123  # its first line is all that is wanted
        user, nice, system, _, _, *interrupts = map(int, file.readline().split()[1:STOLEN])
    return (user + nice + system + sum(interrupts)) / TICKS


def _measured(pids: Iterable[int]) -> Measured:
    found = tuple(pids)
    return Measured(sum(map(_seconds, found)), sum(map(proportional, found)))


def pid_namespace(pid: int) -> int | None:
    """Which PID namespace the process is in; None when it is gone, or somebody else's."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino  # noqa: PTH116  # one call for each process of the machine
    except OSError:
        return None


def _seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0.0
    fields = stat.rpartition(b")")[2].split()
    return sum(map(int, fields[USER_TIME:LAST_TIME])) / TICKS
