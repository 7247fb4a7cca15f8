"""What a machine has left, and when that is too little. Pure but for ``observe``."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MEMORY, DISK, PROCESSES = "MemoryPressure", "DiskPressure", "PIDPressure"
INODES = "inodes"

LEAST_MEMORY = 256 << 20
LEAST_DISK, LEAST_DISK_PART = 1 << 30, 10
"""So many bytes, or of a small file system one part of so many."""

LEAST_INODES_PART, LEAST_PROCESSES_PART = 20, 10

RELIEVED_PART = 10
"""Pressure ends when there is more left than the least, by one part of so many: not for the next write to begin it."""

NEAR = 3
"""Times the least: below that, looks are closer."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What may run short: how much is left, and the least that should be. ``resource`` is a kubelet's name for it."""

    condition: str
    resource: str
    left: int
    least: int

    def short(self, *, before: bool) -> bool:
        """Whether too little is left; ``before``: whether that was so at the last look."""
        return self.left < self.least + (self.least // RELIEVED_PART if before else 0)


@dataclass(frozen=True, slots=True)
class Machine:
    """All of it, at one moment."""

    supplies: tuple[Supply, ...]

    def short(self, before: frozenset[str] = frozenset()) -> tuple[Supply, ...]:
        """What runs short, where the conditions ``before`` held."""
        return tuple(each for each in self.supplies if each.short(before=each.condition in before))

    @property
    def near(self) -> bool:
        """Whether something will soon run short."""
        return any(each.left < each.least * NEAR for each in self.supplies)


def observe(folder: Path) -> Machine:
    """Look at the machine, and at the file system that holds the data directory."""
    return Machine((*_disk(folder), *_memory(), *_processes()))


def _disk(folder: Path) -> Iterator[Supply]:
    disk = os.statvfs(folder)
    total, left = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    yield Supply(DISK, "ephemeral-storage", left, min(LEAST_DISK, total // LEAST_DISK_PART))
    if disk.f_files:  # file systems that make them as they go tell none
        yield Supply(DISK, INODES, disk.f_favail, disk.f_files // LEAST_INODES_PART)


def _memory() -> Iterator[Supply]:
    yield Supply(MEMORY, "memory", psutil.virtual_memory().available, LEAST_MEMORY)


def _processes() -> Iterator[Supply]:
    try:
        most = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
        there = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except OSError:
        return
    yield Supply(PROCESSES, "pids", most - there, most // LEAST_PROCESSES_PART)
