"""Where a volume stands on this machine, and what no pod may reach.

A host path is open to pods only when the administrator listed it (or a folder above it) in KETCH_HOST_PATHS; the
platform's own directory never is.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ketch.kube.types.core import PersistentVolume, PersistentVolumeClaim, Pod
from ketch.kube.types.volumes import HostPathVolume, InlineCSIVolume, Volume
from ketch.local.node.environment import ConfigError
from ketch.local.node.volumes.spreading import spread

VOLUMES_DRIVER = "volumes.ketch.dev"
OBJECTS_DRIVER = "objects.ketch.dev"
OBJECT_PATH = "path"
HOST_PATHS = "KETCH_HOST_PATHS"
MEMORY = "Memory"
OBJECTS = ".objects"
"""A name that no volume can have."""

BOUND = "Bound"


@dataclass(frozen=True)
class Place:
    """A volume on disk: a folder or a file, and whether pods may write to it."""

    path: Path
    read_only: bool = False


@dataclass(frozen=True)
class Folders:
    """The folders in which this node keeps pods' data."""

    data_dir: Path
    shared_memory: Path = Path("/dev/shm")  # noqa: S108  # memory-backed, and below it a folder of the pod's own

    def of_pod(self, uid: str) -> Path:
        """Everything about one pod."""
        return self.data_dir / "pods" / uid

    def of_memory(self, uid: str) -> Path:
        """The pod's memory-backed volumes."""
        return self.shared_memory / f"ketch-{uid}"

    def of_objects(self, uid: str) -> Path:
        """The pod's volumes that are made of objects: in memory, as secrets are nowhere written to a disk."""
        return self.of_memory(uid) / OBJECTS

    def pods(self) -> list[str]:
        """The uids of the pods that have a folder."""
        root = self.data_dir / "pods"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        spread(root)
        return [path.name for path in root.iterdir()]

    async def remove_pod(self, uid: str) -> None:
        """Remove everything about a pod."""
        await remove_trees(self.of_pod(uid), self.of_memory(uid))


def remove_objects(folders: Folders, uid: str) -> None:
    """Remove the pod's volumes that are made of objects: a few small files."""
    shutil.rmtree(folders.of_objects(uid), ignore_errors=True)
    with contextlib.suppress(OSError):  # others are there, or there never was any
        folders.of_memory(uid).rmdir()


async def remove_trees(*paths: Path) -> None:
    """Remove what there is of these folders, in a thread: they may hold much."""
    there = [path for path in paths if path.exists()]
    if there:
        await asyncio.to_thread(_remove, there)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def _inside(root: Path, relative: str, what: str) -> Path:
    path = (root / relative.lstrip("/")).resolve()
    if not path.is_relative_to(root.resolve()) or path == root.resolve():
        raise ConfigError(f'{what}: path "{relative}" must name something below the store')
    return path


def empty_dir_place(folders: Folders, pod: Pod, volume: Volume) -> Place:
    """An emptyDir, made if it is not there."""
    assert volume.empty_dir is not None
    uid = pod.metadata.uid
    root = folders.of_memory(uid) if volume.empty_dir.medium == MEMORY else folders.of_pod(uid) / "volumes"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)  # also where the folder around it is everybody's
    path = root / volume.name
    path.mkdir(exist_ok=True)
    path.chmod(0o777)  # the umask does not count
    return Place(path)


def object_place(folders: Folders, csi: InlineCSIVolume, what: str) -> Place:
    """A place in the object store; a writable one is made, a read-only one must be there."""
    if csi.driver != OBJECTS_DRIVER:
        raise ConfigError(f'{what}: driver name "{csi.driver}" not found in the list of registered CSI drivers')
    relative = csi.volume_attributes.get(OBJECT_PATH, "")
    path = _inside(folders.data_dir / "objects", relative, what)
    if csi.read_only:
        if not path.exists():
            raise ConfigError(f'{what}: object "{relative}" does not exist')
    else:
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    return Place(path, read_only=bool(csi.read_only))


_KINDS: Mapping[str, tuple[Callable[[Path], bool], str]] = {
    "Directory": (Path.is_dir, "directory"),
    "DirectoryOrCreate": (Path.is_dir, "directory"),
    "File": (Path.is_file, "file"),
    "FileOrCreate": (Path.is_file, "file"),
    "Socket": (Path.is_socket, "socket file"),
    "CharDevice": (Path.is_char_device, "character device"),
    "BlockDevice": (Path.is_block_device, "block device"),
}


def host_place(folders: Folders, source: HostPathVolume, what: str, environment: Mapping[str, str]) -> Place:
    """A path of the host that the administrator opened to pods."""
    path = Path(source.path).resolve()
    allowed = [Path(item).resolve() for item in environment.get(HOST_PATHS, "").split(os.pathsep) if item]
    data = folders.data_dir.resolve()
    if path.is_relative_to(data) or data.is_relative_to(path) or not any(path.is_relative_to(a) for a in allowed):
        raise ConfigError(
            f'{what}: host path "{source.path}" is not open to pods: start Ketch with {HOST_PATHS}={source.path}'
        )
    if source.type in ("DirectoryOrCreate", "FileOrCreate") and not path.exists():
        path.mkdir(parents=True) if source.type == "DirectoryOrCreate" else path.touch()
    if not path.exists():
        raise ConfigError(f'{what}: host path "{source.path}" does not exist')
    is_it, kind = _KINDS.get(source.type or "", (None, ""))
    if is_it is not None and not is_it(path):
        raise ConfigError(f"{what}: hostPath type check failed: {source.path} is not a {kind}")
    return Place(path)


def claim_place(
    folders: Folders, claim: PersistentVolumeClaim | None, volume: PersistentVolume | None, name: str, what: str
) -> Place:
    """The directory behind a bound claim."""
    if claim is None:
        raise ConfigError(f'{what}: persistentvolumeclaim "{name}" not found')
    if claim.status.phase != BOUND or volume is None:
        raise ConfigError(f'{what}: persistentvolumeclaim "{name}" is not bound')
    csi = volume.spec.csi
    if csi is None or csi.driver != VOLUMES_DRIVER:
        raise ConfigError(f'{what}: PersistentVolume "{volume.metadata.name}" is of a kind that this node cannot mount')
    path = _inside(folders.data_dir / "volumes", csi.volume_handle, what)
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)
    return Place(path, read_only=csi.read_only)
