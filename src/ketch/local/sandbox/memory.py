"""A memory limit without a cgroup: the container's processes are measured, and the limit is theirs together."""

from ketch.local.processes import children

PAGE = 4096
FASTEST = 2 << 30
"""Bytes a second by which a container's memory is taken to grow at most: the next look comes before that is over."""

SHORTEST, LONGEST = 0.02, 1.0


class MemoryWatch:
    """Measures every process below ``init``. File pages do not count: the kernel takes them back when it must."""

    def __init__(self, init: int, limit: int) -> None:
        self._init = init
        self._limit = limit
        self._used = 0
        self.was_exceeded = False

    def pause(self) -> float:
        """Seconds until the next look."""
        return min(max((self._limit - self._used) / FASTEST, SHORTEST), LONGEST)

    def exceeded(self) -> bool:
        """Look: whether more is used than allowed. Shared pages are counted once, at the price of a closer look."""
        pids = descendants(self._init)
        self._used = sum(map(resident, pids))
        if self._used > self._limit:
            self._used = sum(map(proportional, pids))
        self.was_exceeded = self.was_exceeded or self._used > self._limit
        return self._used > self._limit


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        found.extend(children(parent))
    return found


def _kilobytes(path: str, names: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return sum(int(line.split()[1]) for line in file if line.startswith(names)) * 1024
    except OSError:
        return 0


def resident(pid: int) -> int:
    """Bytes of anonymous and shared memory that the process has in RAM, shared ones in full."""
    return _kilobytes(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:"))


def proportional(pid: int) -> int:
    """The same, each page divided by the number of processes that share it."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:"))
