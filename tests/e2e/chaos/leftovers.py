"""What a platform may leave behind, as the kernel sees it: processes, interfaces, groups, folders, mounts."""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.e2e.chaos.kills import keepers_of, parent, templates
from tests.e2e.platforms import Platform

SHARED_MEMORY = Path("/dev/shm")  # where the node agent keeps what is in memory
GROUPS = Path("/sys/fs/cgroup")


def _processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _text(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def processes_naming(root: Path) -> Mapping[int, str]:
    """Processes of a platform: their command line names its directory, or their mounts come from there."""
    found = {}
    for pid in _processes():
        command, mounts = _text(pid, "cmdline"), _text(pid, "mountinfo")
        if pid != os.getpid() and (str(root) in command or f"{root}/" in mounts):
            found[pid] = command.replace("\0", " ")[:200]
    return found


def _ancestors(pid: int) -> Iterator[int]:
    while (above := parent(pid)) is not None and above > 0:
        yield above
        pid = above


def strays(platform: Platform, uids: Iterable[str]) -> Mapping[int, str]:
    """Processes that belong neither to the supervisor nor to a container of the pods that are there."""
    supervisor = platform.record()["pid"]
    holder = {pid for pid, command in processes_naming(platform.root).items() if "holder.py" in command}
    keepers = {pid for uid in uids for pid in keepers_of(platform, uid)}
    known = {supervisor, *holder, *keepers, *templates(platform)}
    return {
        pid: command for pid, command in processes_naming(platform.root).items() if not known & {pid, *_ancestors(pid)}
    }


def folders(platform: Platform) -> set[str]:
    """The pods that have something on disk."""
    return {path.name for path in (platform.root / "pods").iterdir()}


def in_memory(uids: Iterable[str]) -> set[str]:
    """Of these pods, those that have something in memory."""
    return {uid for uid in uids if (SHARED_MEMORY / f"ketch-{uid}").exists()}


def groups(platform: Platform) -> list[Path]:
    """Control groups of containers."""
    name = hashlib.sha256(str(platform.root.absolute()).encode()).hexdigest()[:12]
    return [path for path in GROUPS.glob(f"*/**/ketch-{name}/*") if path.is_dir()] if GROUPS.exists() else []


def interfaces(platform: Platform) -> int:
    """Interfaces of the cluster's network but its own: one for each place of a pod."""
    holder = next(pid for pid, command in processes_naming(platform.root).items() if "holder.py" in command)
    seen: dict[str, int] = {}
    for path in Path(f"/proc/{holder}/fd").iterdir():
        try:
            target = path.readlink()
        except OSError:
            continue
        if str(target).startswith("net:") and str(target) not in seen:
            command = ["nsenter", f"--net={path}", "cat", "/proc/self/net/dev"]
            told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            seen[str(target)] = len([line for line in told.splitlines() if ":" in line])
    return max(seen.values(), default=0)


def mounts_of(root: Path) -> list[str]:
    """What this machine itself has mounted from there."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{root}/" in line]
