"""What pods take of what runs short. As slow as they have files and processes: for a thread, and when it matters."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ketch.kube.types.core import Pod
from ketch.local.node.pressure.machine import INODES, MEMORY, Supply
from ketch.local.node.usage import ContainerName, look
from ketch.local.node.volumes.limits import size_of
from ketch.local.node.volumes.places import Folders

OF_POD = ""
"""What no container takes alone: volumes."""

Used = Mapping[str, int]
"""By container."""


def measured(
    folders: Folders, pods: Mapping[str, Pod], processes: Mapping[ContainerName, int], supply: Supply
) -> Mapping[str, Used]:
    """Of each pod, by uid, what its containers take of the supply."""
    if supply.condition == MEMORY:
        return _in_memory(folders, pods, processes)
    sized = number_of if supply.resource == INODES else size_of
    return {uid: _on_disk(folders.of_pod(uid), pod, sized) for uid, pod in pods.items()}


def _in_memory(folders: Folders, pods: Iterable[str], processes: Mapping[ContainerName, int]) -> Mapping[str, Used]:
    _, found = look(processes)
    taken = {uid: {OF_POD: size_of(folders.of_memory(uid))} for uid in pods}
    for name, each in found.items():
        if name.pod in taken:
            taken[name.pod][name.container] = each.memory
    return taken


def _on_disk(root: Path, pod: Pod, sized: Callable[[Path], int]) -> Used:
    names = [each.name for each in (*pod.spec.init_containers, *pod.spec.containers)]
    of_containers = {name: sized(root / "containers" / name) + sized(root / "logs" / name) for name in names}
    return {**of_containers, OF_POD: sized(root / "volumes")}


def number_of(path: Path) -> int:
    """How many files and folders a tree has."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(path))
