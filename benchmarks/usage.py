"""What a server takes of the machine: CPU time and memory of a process, as the kernel counts them.

Where other work goes on beside a measurement, seconds say little; CPU time still does.
"""

import time
from dataclasses import dataclass

import psutil

MEBIBYTE = 1024 * 1024
MICROSECONDS = 1_000_000
_PROCESS_CLOCK = 2
"""How the kernel numbers the clock that counts the CPU time of all threads of another process."""


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken so far."""
    return time.clock_gettime((~pid << 3) | _PROCESS_CLOCK)


def memory_bytes(pid: int) -> int:
    """Memory of a process; what it shares is divided among those who share it."""
    return psutil.Process(pid).memory_full_info().pss


@dataclass
class Cost:
    """CPU and wall time of a stretch of work, from the making of this to ``taken``."""

    pid: int

    def __post_init__(self) -> None:
        self._cpu, self._wall = cpu_seconds(self.pid), time.perf_counter()

    def taken(self, count: int) -> tuple[float, float]:
        """CPU microseconds of each of ``count`` pieces, and how many were done in a second."""
        cpu, wall = cpu_seconds(self.pid) - self._cpu, time.perf_counter() - self._wall
        return cpu / count * MICROSECONDS, count / wall
