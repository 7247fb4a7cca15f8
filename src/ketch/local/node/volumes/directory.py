"""Puts files into a volume so that a reader sees all of the old or all of the new, never a mixture.

As a kubelet does: the files stand in a folder named by time, ``..data`` is a link to it that is replaced in one step,
and each name in the volume is a link through ``..data``.
"""

import os
import shutil
from pathlib import Path, PurePosixPath

from ketch.local.node.environment import ConfigError
from ketch.local.node.volumes.payload import File, Files

DATA = "..data"


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ConfigError(f'path "{name}" must be relative and stay inside the volume')
    return path


def _current(volume: Path) -> dict[str, File]:
    data = volume / DATA
    if not data.exists():
        return {}
    return {
        str(path.relative_to(data)): File(path.read_bytes(), path.stat().st_mode & 0o777)
        for path in data.rglob("*")
        if path.is_file()
    }


def write_files(volume: Path, files: Files) -> bool:
    """Make the volume hold exactly ``files``; whether anything changed. Raises ConfigError for paths out of it."""
    paths = {name: _checked(name) for name in files}
    wanted = {str(paths[name]): File(file.content, file.mode & 0o777) for name, file in files.items()}
    volume.mkdir(parents=True, exist_ok=True, mode=0o755)
    data = volume / DATA
    there = data.exists()
    if there and _current(volume) == wanted:
        return False
    old = data.readlink() if there and data.is_symlink() else None
    fresh = _write(volume, wanted)
    link = volume / f"{DATA}_new"
    link.unlink(missing_ok=True)  # left by an agent that was killed here
    link.symlink_to(fresh)
    link.rename(data)
    _link_names(volume, {path.parts[0] for path in paths.values()})
    if old is not None:
        shutil.rmtree(volume / old, ignore_errors=True)
    return True


def _write(volume: Path, files: Files) -> str:
    """The name of a new folder of the volume, with the files in it."""
    name = f"..{os.urandom(8).hex()}"
    fresh = f"{volume}/{name}"
    os.mkdir(fresh)  # noqa: PTH102  # every pod has such a volume: pathlib takes longer than the kernel
    os.chmod(fresh, 0o755)  # noqa: PTH101, S103  # what is in it says who may read it
    for relative, file in files.items():
        path = f"{fresh}/{relative}"
        if "/" in relative:
            os.makedirs(path.rpartition("/")[0], exist_ok=True)  # noqa: PTH103
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file.mode)
        with os.fdopen(descriptor, "wb") as written:
            os.fchmod(descriptor, file.mode)  # the umask does not count
            written.write(file.content)
    return name


def _link_names(volume: Path, names: set[str]) -> None:
    for entry in os.scandir(volume):
        if not entry.name.startswith("..") and entry.name not in names:
            Path(entry.path).unlink()
    for name in names:
        path = volume / name
        if not path.is_symlink():
            path.symlink_to(f"{DATA}/{name}")
