"""How much of the disk, or of memory, a pod's data may take: what limits it has, and which one it has broken."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ketch.kube.quantities import QuantityError, whole
from ketch.kube.types.core import Pod
from ketch.local.node.volumes.places import MEMORY, Folders

STORAGE = "ephemeral-storage"
BLOCK = 512
"""Bytes that ``st_blocks`` counts in."""


@dataclass(frozen=True)
class Limits:
    """Bytes, and as they were written: of emptyDirs by name, of containers by name, of the pod as a whole."""

    volumes: Mapping[str, tuple[int, str]]
    containers: Mapping[str, tuple[int, str]]
    whole_pod: tuple[int, str] | None

    def __bool__(self) -> bool:
        return bool(self.volumes or self.containers or self.whole_pod)


@dataclass(frozen=True)
class Usage:
    """Bytes on disk (or in memory, for such volumes): by volume, by container, and of all that is on disk."""

    volumes: Mapping[str, int]
    containers: Mapping[str, int]
    whole_pod: int


def _amount(text: str | None) -> tuple[int, str] | None:
    try:
        return (whole(text), str(text)) if text is not None else None
    except QuantityError:
        return None


def limits_of(pod: Pod) -> Limits:
    """What the pod must keep to; false when that is nothing."""
    volumes = {
        each.name: found
        for each in pod.spec.volumes
        if each.empty_dir is not None and (found := _amount(each.empty_dir.size_limit)) and found[0] > 0
    }
    containers = {
        each.name: found
        for each in (*pod.spec.init_containers, *pod.spec.containers)
        if (found := _amount(each.resources.limits.get(STORAGE)))
    }
    total: tuple[int, str] | None = None
    main = [containers.get(each.name) for each in pod.spec.containers]
    known = [each for each in main if each is not None]
    if known and len(known) == len(main):
        size = sum(amount for amount, _ in known)
        total = (size, str(size) if len(known) > 1 else known[0][1])
    return Limits(volumes, containers, total)


def broken(limits: Limits, usage: Usage) -> str:
    """Which limit is exceeded, in a kubelet's words; empty while none is."""
    for name, (most, text) in limits.volumes.items():
        if usage.volumes.get(name, 0) > most:
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{text}". '
    for name, (most, text) in limits.containers.items():
        if usage.containers.get(name, 0) > most:
            return f'Container {name} exceeded its local ephemeral storage limit "{text}". '
    if limits.whole_pod is not None and usage.whole_pod > limits.whole_pod[0]:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {limits.whole_pod[1]}. "
    return ""


def measure(folders: Folders, pod: Pod, limits: Limits) -> Usage:
    """Look at the disk; as slow as the pod has files, so in a thread."""
    root = folders.of_pod(pod.metadata.uid)
    memory = folders.of_memory(pod.metadata.uid)
    in_memory = {each.name for each in pod.spec.volumes if each.empty_dir and each.empty_dir.medium == MEMORY}
    volumes = {
        each.name: size_of((memory if each.name in in_memory else root / "volumes") / each.name)
        for each in pod.spec.volumes
        if each.empty_dir is not None and (each.name in limits.volumes or limits.whole_pod)
    }
    named = limits.containers
    containers = {name: size_of(root / "containers" / name) + size_of(root / "logs" / name) for name in named}
    on_disk = sum(size for name, size in volumes.items() if name not in in_memory)
    return Usage(volumes, containers, sum(containers.values()) + on_disk)


def size_of(path: Path) -> int:
    """Bytes that a tree takes; what goes meanwhile counts as nothing, and a file of several names once."""
    return sum(_sizes(str(path), set()))


def _sizes(path: str, seen: set[tuple[int, int]]) -> Iterator[int]:
    pending = [path]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
            except OSError:
                continue
            if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            yield found.st_blocks * BLOCK
