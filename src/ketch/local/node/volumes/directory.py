"""Puts files into a volume so that a reader sees all of the old or all of the new, never a mixture.

As a kubelet does: the files stand in a folder named by time, ``..data`` is a link to it that is replaced in one step,
and each name in the volume is a link through ``..data``.
"""

import os
import shutil
import tempfile
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
    if (volume / DATA).exists() and _current(volume) == wanted:
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=volume))
    fresh.chmod(0o755)
    for name, file in wanted.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    old = (volume / DATA).readlink() if (volume / DATA).is_symlink() else None
    link = volume / f"{DATA}_new"
    link.unlink(missing_ok=True)  # left by an agent that was killed here
    link.symlink_to(fresh.name)
    link.rename(volume / DATA)
    _link_names(volume, {PurePosixPath(name).parts[0] for name in wanted})
    if old is not None:
        shutil.rmtree(volume / old, ignore_errors=True)
    return True


def _link_names(volume: Path, names: set[str]) -> None:
    for entry in os.scandir(volume):
        if not entry.name.startswith("..") and entry.name not in names:
            Path(entry.path).unlink()
    for name in names:
        path = volume / name
        if not path.is_symlink():
            path.symlink_to(f"{DATA}/{name}")
