"""A memory limit without a cgroup: the container's processes are measured, and the limit is theirs together."""

import os

from ketch.local.processes import children

PAGE = 4096
FASTEST = 2 << 30
"""Bytes a second by which a container's memory is taken to grow at most: the next look comes before that is over."""

SHORTEST, LONGEST = 0.02, 1.0
RESIDENT, PROPORTIONAL = (b"RssAnon:", b"RssShmem:"), (b"Pss_Anon:", b"Pss_Shmem:")
"""What a process has in RAM, its own and of shared memory: in full, and divided among those who share it."""


class MemoryWatch:
    """Measures every process below ``init``, and file systems in memory that are the container's own.

    Other file pages do not count: the kernel takes them back when it must.
    """

    def __init__(self, init: int, limit: int) -> None:
        self._init = init
        self._limit = limit
        self._used = 0
        self._in_memory: list[str] | None = None
        self.was_exceeded = False

    def pause(self) -> float:
        """Seconds until the next look."""
        return min(max((self._limit - self._used) / FASTEST, SHORTEST), LONGEST)

    def exceeded(self) -> bool:
        """Look: whether more is used than allowed. Shared pages are counted once, at the price of a closer look."""
        if self._in_memory is None:  # what is mounted does not change any more
            self._in_memory = file_systems_in_memory(self._init)
        pids, files = descendants(self._init), sum(map(taken, self._in_memory))
        self._used = _together(pids, files, "status", RESIDENT)
        if self._used > self._limit:
            self._used = _together(pids, files, "smaps_rollup", PROPORTIONAL)
        self.was_exceeded = self.was_exceeded or self._used > self._limit
        return self._used > self._limit


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        found.extend(children(parent))
    return found


def _together(pids: list[int], files: int, name: str, fields: tuple[bytes, bytes]) -> int:
    """Bytes that processes and files take; a file that is mapped counts once."""
    own, mapped = 0, 0
    for pid in pids:
        anonymous, shared = _amounts(f"/proc/{pid}/{name}", fields)
        own, mapped = own + anonymous, mapped + shared
    return own + max(files, mapped)


def file_systems_in_memory(pid: int) -> list[str]:
    """Where those stand that the process sees whole: of others it sees a folder, and they are not its own."""
    found: list[str] = []
    try:
        with open(f"/proc/{pid}/mountinfo") as file:  # noqa: PTH123
            for line in file:
                left, _, right = line.partition(" - ")
                _, _, _, root, target, *_ = left.split()
                if "/" in (root, target) and right.startswith("tmpfs "):
                    found.append(f"/proc/{pid}/root{target}")
    except OSError:
        return []
    return found


def taken(path: str) -> int:
    """Bytes that the files of a file system take."""
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _amounts(path: str, fields: tuple[bytes, bytes]) -> tuple[int, int]:
    """Two fields of a process, in bytes."""
    found = [0, 0]
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(fields):
                    found[line.startswith(fields[1])] = int(line.split()[1]) * 1024
    except OSError:
        return 0, 0
    return found[0], found[1]


def proportional(pid: int) -> int:
    """Bytes of memory that the process has in RAM, each page divided by the number of processes that share it."""
    return sum(_amounts(f"/proc/{pid}/smaps_rollup", PROPORTIONAL))
