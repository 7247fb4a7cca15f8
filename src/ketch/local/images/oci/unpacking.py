"""One layer's archive as a directory that an overlay can have as one of its lower ones.

Everything belongs to the platform's user, as all users of a container are that one outside. No path leaves the
directory, through ``..``, links or otherwise. Whiteouts become overlay's own: a character device 0/0 hides what lies
below it, an attribute of a directory hides all that the directory has below it. Devices are left out: containers have
their own /dev. So are set-user-id bits, capabilities and extended attributes, which mean nothing here.
"""

# A layer may have a million files: paths are texts here.
# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH123, PTH211

import contextlib
import os
import stat
import tarfile
from collections.abc import Sequence
from typing import BinaryIO

from ketch.local.images.oci.errors import FULL, LayerInvalid, NoSpace
from ketch.local.images.oci.tree import MOST_LINKS
from ketch.local.sandbox.layering import is_whiteout, make_opaque
from ketch.local.sandbox.records import remove_tree

WHITEOUT, OPAQUE_WHITEOUT, RESERVED = ".wh.", ".wh..wh..opq", ".wh..wh."
MOST_ENTRIES = 2_000_000
CHUNK = 1 << 18
LOOK_AT_DISK_EVERY = 64 << 20
KEPT_FREE = 256 << 20
"""Bytes that stay free on the disk, whatever is unpacked."""


class Unpacker:
    """Puts the members of archives below ``root``, an empty directory that nobody else touches meanwhile."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._folders: dict[str, str] = {"": root}
        self._modes: dict[str, tuple[int, float]] = {}
        self._until_look = 0
        self.bytes = 0
        self.entries = 0
        self.skipped = 0
        """Devices, and what else no container has from its image."""

    def unpack(self, content: BinaryIO) -> None:
        """All of an uncompressed archive. Raises LayerInvalid, NoSpace."""
        try:
            with tarfile.open(fileobj=content, mode="r|", errorlevel=2, encoding="utf-8") as archive:
                for member in archive:
                    archive.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it would keep every one
                    self._put(archive, member)
        except tarfile.TarError as error:
            raise LayerInvalid(f"the layer is not a whole archive: {error}") from error
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            raise LayerInvalid(f"the layer cannot be unpacked: {error}") from error
        self._finish()

    def _put(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise LayerInvalid(f"the layer has more than {MOST_ENTRIES} files")
        parts = _parts(member.name)
        if not parts:
            if member.isdir():
                self._modes[self._root] = (_mode(member), member.mtime)
            return
        folder, name = self._folder(parts[:-1]), parts[-1]
        if name.startswith(WHITEOUT):
            self._hide(folder, name)
            return
        path = f"{folder}/{name}"
        if member.isdir():
            self._directory(path, member)
        elif member.isreg():
            self._remove(path)
            self._file(path, archive, member)
        elif member.issym():
            self._remove(path)
            os.symlink(member.linkname, path)
            os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
        elif member.islnk():
            self._link(path, member)
        elif member.isfifo():
            self._remove(path)
            os.mkfifo(path, _mode(member))
        else:
            self.skipped += 1

    def _hide(self, folder: str, name: str) -> None:
        if name == OPAQUE_WHITEOUT:
            make_opaque(folder)
            return
        if name.startswith(RESERVED):
            return  # what another storage kept for itself
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise LayerInvalid(f'the layer hides "{hidden}", which is no file')
        path = f"{folder}/{hidden}"
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            os.mknod(path, stat.S_IFCHR, 0)
            return
        if stat.S_ISDIR(found.st_mode):  # of this layer: it stays, and what is below it goes
            make_opaque(path)

    def _directory(self, path: str, member: tarfile.TarInfo) -> None:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            found = None
        if found is None or not stat.S_ISDIR(found.st_mode):
            if found is not None:
                self._remove(path)
            os.mkdir(path, 0o700)
            if found is not None and is_whiteout(found):
                make_opaque(path)
        self._modes[path] = (_mode(member), member.mtime)

    def _file(self, path: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        source = archive.extractfile(member)
        assert source is not None
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            while data := source.read(CHUNK):
                self._account(len(data))
                file.write(data)
            os.fchmod(descriptor, _mode(member))
            os.utime(descriptor, (member.mtime, member.mtime))

    def _account(self, size: int) -> None:
        self.bytes += size
        self._until_look -= size
        if self._until_look < 0:
            self._until_look = LOOK_AT_DISK_EVERY
            free = os.statvfs(self._root)
            if free.f_bavail * free.f_frsize < KEPT_FREE + size:
                raise NoSpace(f"the disk is full: less than {KEPT_FREE >> 20} MiB are free where images are kept")

    def _link(self, path: str, member: tarfile.TarInfo) -> None:
        parts = _parts(member.linkname)
        if not parts:
            raise LayerInvalid(f'"{member.name}" is a hard link to the root directory')
        target = f"{self._folder(parts[:-1])}/{parts[-1]}"
        if target == path:
            return
        self._remove(path)
        try:
            os.link(target, path, follow_symlinks=False)
        except OSError as error:
            raise LayerInvalid(
                f'"{member.name}" is a hard link to "{member.linkname}", which cannot be linked to: {error.strerror}'
            ) from error

    def _folder(self, parts: Sequence[str]) -> str:
        """The directory, made if it is not there. Links on the way lead where they would lead in the layer alone."""
        key = "/".join(parts)
        if (known := self._folders.get(key)) is None:
            known = self._folders[key] = self._resolved(parts)
        return known

    def _resolved(self, parts: Sequence[str]) -> str:
        way: list[str] = []
        pending, links = list(reversed(parts)), 0
        while pending:
            name = pending.pop()
            if name == "..":
                way = way[:-1]
                continue
            path = "/".join((self._root, *way, name))
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                found = None
            if found is not None and stat.S_ISLNK(found.st_mode):
                links += 1
                if links > MOST_LINKS:
                    raise LayerInvalid(f'too many links on the way to "{"/".join(parts)}"')
                target = os.readlink(path)
                if target.startswith("/"):
                    way = []
                pending += reversed([part for part in target.split("/") if part not in ("", ".")])
                continue
            if found is None or not stat.S_ISDIR(found.st_mode):
                if found is not None:
                    self._remove(path)
                os.mkdir(path, 0o700)
                self._modes[path] = (0o755, 0.0)
                if found is not None and is_whiteout(found):
                    make_opaque(path)
            way.append(name)
        return "/".join((self._root, *way))

    def _remove(self, path: str) -> None:
        """Make room for a member of the same name: a later one counts."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            remove_tree(path)
            self._modes = {each: mode for each, mode in self._modes.items() if not _is_below(each, path)}
        self._folders = {"": self._root}

    def _finish(self) -> None:
        """Give directories their modes and times, the deepest first: some of them let nobody in."""
        self._modes.setdefault(self._root, (0o755, 0.0))
        for path, (mode, moment) in sorted(self._modes.items(), reverse=True):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (moment, moment))
                os.chmod(path, mode)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _mode(member: tarfile.TarInfo) -> int:
    """Without set-user-id; a directory may be sticky, and is open to its owner as it is to root elsewhere."""
    return (member.mode & 0o1777) | 0o700 if member.isdir() else member.mode & 0o777


def _parts(name: str) -> Sequence[str]:
    """A member's path in parts. Raises LayerInvalid when it would leave the layer."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise LayerInvalid(f'the layer has a file "{name}", which would be outside of it')
    if "\0" in name:
        raise LayerInvalid("the layer has a file with a zero byte in its name")
    return parts
