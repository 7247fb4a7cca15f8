"""CPU limits of containers, kept by the kernel where it lets this process: cgroup v1's cpu controller, or v2's.

A container with a limit has a group of its own; its processes are put there as soon as they run, and commands that are
run in it later follow. Without a limit a container has no group.
"""

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ketch.local.node.usage import pid_namespace

log = logging.getLogger(__name__)

MOUNTS, OWN_GROUPS = Path("/proc/self/mounts"), Path("/proc/self/cgroup")
PERIOD = 100_000
"""Microseconds: what a container has used up of a period, it gets again in the next one."""

SMALLEST_QUOTA = 1_000
LOOKS = 5
"""Looks for processes of a container that were begun while the others were put into the group."""


@dataclass(frozen=True, slots=True)
class _Hierarchy:
    """Where groups can be made, and how they are told their quota."""

    folder: Path
    unified: bool

    def write_quota(self, group: Path, quota: int) -> None:
        if self.unified:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
            return
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))


def _hierarchy() -> _Hierarchy | None:
    """The first place that the kernel offers; None where there is none."""
    own: dict[str, str] = {}
    for line in OWN_GROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    for line in MOUNTS.read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(",") and "cpu" in own:
            return _Hierarchy(Path(place + own["cpu"]), unified=False)
        if kind == "cgroup2":
            # A group that has processes cannot have groups with controllers: so ours stand beside this process's.
            folder = Path(place + os.path.dirname(own.get("", "/")))  # noqa: PTH120  # a text, which may be all of it
            control = folder / "cgroup.subtree_control"
            if control.exists() and "cpu" in control.read_text().split():
                return _Hierarchy(folder, unified=True)
    return None


def group_name(uid: str, container: str, attempt: int) -> str:
    """The group of one run of a pod's container."""
    return f"{uid}-{container}-{attempt}"


class CPULimits:
    """The groups of one platform's containers."""

    def __init__(self, data_dir: Path) -> None:
        name = hashlib.sha256(str(data_dir.absolute()).encode()).hexdigest()[:12]
        self._changing = threading.Lock()
        self._left: set[str] = set()
        self._hierarchy = _hierarchy()
        self._root = None if self._hierarchy is None else self._hierarchy.folder / f"ketch-{name}"

    def prepare(self) -> None:
        """Begin: forget what containers that are gone have left. Says so when limits cannot be kept."""
        try:
            if self._root is None or self._hierarchy is None:
                raise OSError("the kernel offers no cgroup with the cpu controller")
            if not os.access(self._hierarchy.folder, os.W_OK):
                raise OSError(f"{self._hierarchy.folder} cannot be written to")
        except OSError as error:
            log.warning("CPU limits of containers are not kept: %s", error)
            self._root = None
        else:
            self.sweep()

    def sweep(self) -> None:
        """Remove groups in which nobody is any more, and what holds them when none is left."""
        if self._root is not None and self._root.exists():
            for group in self._root.iterdir():
                if group.is_dir():
                    _remove(group)
            _remove(self._root)

    def limit(self, name: str, pid: int, millis: int) -> None:
        """Keep a container, of which ``pid`` is a process, to so many thousandths of a core."""
        if self._root is None or self._hierarchy is None:
            return
        group = self._root / name
        try:
            with self._changing:
                self._root.mkdir(exist_ok=True)
                if self._hierarchy.unified:
                    (self._root / "cgroup.subtree_control").write_text("+cpu")
                group.mkdir(exist_ok=True)
            self._hierarchy.write_quota(group, max(SMALLEST_QUOTA, millis * PERIOD // 1000))
        except OSError as error:
            log.warning("container %s: its CPU limit is not kept: %s", name, error)
            return
        space, known = pid_namespace(pid), set[int]()
        if space == pid_namespace(os.getpid()):  # its neighbours there are the machine's
            self.join(name, [pid])
            return
        for _ in range(LOOKS):
            found = {each for each in _processes() if space is not None and pid_namespace(each) == space}
            if found <= known:
                return
            self.join(name, found - known)
            known |= found

    def join(self, name: str, pids: Iterable[int]) -> None:
        """Put processes into the group of a container, if it has one."""
        if self._root is None or not (group := self._root / name).is_dir():
            return
        for pid in pids:
            with contextlib.suppress(OSError):  # it has ended
                (group / "cgroup.procs").write_text(str(pid))

    def release(self, name: str) -> None:
        """The container has ended; of its processes, the last may still be about to."""
        if self._root is None:
            return
        with self._changing:
            self._left.add(name)
            self._remove_left()

    def release_pod(self, uid: str) -> None:
        """All containers of a pod have ended."""
        if self._root is not None and self._root.is_dir():
            for group in self._root.glob(f"{uid}-*"):
                self.release(group.name)

    def tidy(self) -> None:
        """Remove what could not be removed when its container ended."""
        if self._left:
            with self._changing:
                self._remove_left()

    def _remove_left(self) -> None:
        assert self._root is not None
        self._left = {name for name in self._left if not _remove(self._root / name)}
        _remove(self._root)


def _processes() -> Iterable[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208  # names are all that is wanted


def _remove(group: Path) -> bool:
    """Whether the group is gone: somebody may be in it still."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
