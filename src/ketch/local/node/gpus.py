"""GPUs: which this machine has, and which container holds which.

What there is, is found (``/dev/nvidia0`` ...) or told: ``KETCH_GPUS=0,1`` names the devices. With
``KETCH_GPU_SHARES=4`` each may be held by four containers at once, and the node says that it has four times as many.
What a container holds is kept beside its pod's records, so that an agent that starts again knows it.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ketch.kube.quantities import QuantityError, whole
from ketch.kube.types.containers import Container
from ketch.local.node.environment import ConfigError
from ketch.local.node.volumes.places import Folders
from ketch.local.sandbox.spec import Mount

log = logging.getLogger(__name__)

RESOURCE = "nvidia.com/gpu"
DEVICES, SHARES = "KETCH_GPUS", "KETCH_GPU_SHARES"
VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
"""Variables by which programs know which devices are theirs."""
FILE = "gpus.json"
COMMON = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
"""Devices that every holder of a GPU needs beside it."""


def devices_of(environment: Mapping[str, str], root: Path = Path("/dev")) -> tuple[str, ...]:
    """The GPUs' names, as they are told or found."""
    told = environment.get(DEVICES)
    if told is not None:
        return tuple(dict.fromkeys(name.strip() for name in told.split(",") if name.strip()))
    found = (path.name.removeprefix("nvidia") for path in root.glob("nvidia[0-9]*"))
    return tuple(sorted((name for name in found if name.isdecimal()), key=int))


def shares_of(environment: Mapping[str, str]) -> int:
    """How many containers may hold one GPU; what is no number from 1 on counts as 1, and is told."""
    text = environment.get(SHARES, "1")
    if text.isdecimal() and int(text) > 0:
        return int(text)
    log.warning("%s=%s is no number from 1 on: GPUs are not shared", SHARES, text)
    return 1


def asked(container: Container) -> int:
    """How many GPUs the container asks for."""
    try:
        return whole(container.resources.limits.get(RESOURCE, "0"))
    except QuantityError:
        return 0


class Gpus:
    """Who holds what. A container that is restarted keeps its own."""

    def __init__(self, devices: Sequence[str], shares: int, folders: Folders, root: Path = Path("/dev")) -> None:
        self._devices = devices
        self._shares = shares
        self._folders = folders
        self._root = root
        self._held: dict[str, dict[str, tuple[str, ...]]] | None = None

    @property
    def count(self) -> int:
        """How many the node says that it has."""
        return len(self._devices) * self._shares

    def take(self, uid: str, container: Container) -> tuple[str, ...]:
        """The devices of a container, the least held first. Raises ConfigError where too few are left."""
        wanted = asked(container)
        if not wanted:
            return ()
        held = self._known()
        mine = held.setdefault(uid, {})
        if (known := mine.get(container.name)) is not None:
            return known
        used = Counter(name for pod in held.values() for taken in pod.values() for name in taken)
        free = [name for name in self._devices for _ in range(self._shares - used[name])]
        if wanted > len(free):
            raise ConfigError(f"Allocate failed: requested {wanted} {RESOURCE}, {len(free)} are free on this node")
        chosen: list[str] = []
        for _ in range(wanted):
            left = [name for name in self._devices if used[name] < self._shares]
            name = min(left, key=lambda each: (each in chosen, used[each], self._devices.index(each)))
            used[name] += 1
            chosen.append(name)
        mine[container.name] = tuple(chosen)
        self._file(uid).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file(uid).write_text(json.dumps(mine))
        return tuple(chosen)

    def give_back(self, uid: str) -> None:
        """The pod has ended."""
        if self._known().pop(uid, None) is not None:
            self._file(uid).unlink(missing_ok=True)

    def variables(self, devices: Sequence[str]) -> dict[str, str]:
        """What tells a container which devices are its own; nothing for one without."""
        return dict.fromkeys(VISIBLE, ",".join(dict.fromkeys(devices))) if devices else {}

    def mounts(self, devices: Sequence[str]) -> tuple[Mount, ...]:
        """The device files that there are."""
        names = (*(f"nvidia{name}" for name in dict.fromkeys(devices)), *COMMON) if devices else ()
        paths = (self._root / name for name in names)
        return tuple(Mount("dev-bind", f"/dev/{path.name}", str(path)) for path in paths if path.exists())

    def _file(self, uid: str) -> Path:
        return self._folders.of_pod(uid) / FILE

    def _known(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """What is held, read once from what an earlier agent wrote."""
        if self._held is None:
            self._held = {}
            for uid in self._folders.pods() if self._devices else ():
                try:
                    told: dict[str, list[str]] = json.loads(self._file(uid).read_text())
                except (OSError, ValueError):
                    continue
                self._held[uid] = {name: tuple(devices) for name, devices in told.items()}
        return self._held
