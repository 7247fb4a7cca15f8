"""The bytes of artifacts, by URI: what an object store does, and one over a local directory.

The local store stands in for the buckets of every scheme it knows: ``minio://mlpipeline/v2/x`` has the *key*
``mlpipeline/v2/x`` and lies at that path below the store's root, so that the node can bind it into a sandbox without
copying. No key leaves the root, neither by ``..`` nor through a link that a step left behind.
"""

import asyncio
import errno
import os
import shutil
import stat
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

DEFAULT_ROOT: Final = "minio://mlpipeline/v2/artifacts"
"""Where a pipeline's artifacts go when nobody says otherwise: KFP's own default."""

LOCAL_SCHEMES: Final = ("minio", "s3", "gs")
"""Schemes whose buckets the local store stands in for."""


_NO_FILE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""Why something cannot be opened that is no file: it is not there, or it is a link to itself, or a socket."""


class KeyOutside(ValueError):
    """The URI does not name a place in the store."""


class StoreError(Exception):
    """A store did not do what it was asked; the message names the place and tells why."""


class StoreUnreachable(StoreError):
    """Nobody answers there, or only with failures: it may be worth another try later."""


class AccessDenied(StoreError):
    """The store does not let these credentials do that."""


class ObjectStore(Protocol):
    """Where artifacts are. URIs of schemes the store does not hold raise KeyOutside, stores in trouble StoreError."""

    async def exists(self, uri: str) -> bool:
        """Whether something is stored there: an object, or anything below it."""
        ...

    async def read(self, uri: str, limit: int = -1) -> bytes | None:
        """The object's content, at most ``limit`` bytes of it; None when there is no such object."""
        ...

    async def write(self, uri: str, content: bytes) -> None:
        """Store ``content``: readers see the old content or the new, never a part."""
        ...

    async def remove(self, uri: str) -> None:
        """Remove the object and all below it; nothing happens when there is none."""
        ...


def key_of(uri: str) -> str:
    """The key (``<bucket>/<path>``) that a URI names. Raises KeyOutside."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in LOCAL_SCHEMES:
        raise KeyOutside(f"{uri!r} is in no object store: expected {'://, '.join(LOCAL_SCHEMES)}://")
    key = rest.partition("?")[0].strip("/")
    if not key or "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise KeyOutside(f"{uri!r}: expected <bucket>/<path> without empty, '.' or '..' parts")
    return key


class LocalObjectStore:
    """Artifacts below one directory. ``read`` of the small results that the engine asks for does not leave the loop."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _base(self) -> str:
        return os.path.realpath(self.root)

    def _place(self, uri: str) -> str:
        """Where the object would be if no link led elsewhere."""
        return os.path.join(self._base, key_of(uri))  # noqa: PTH118  # text, to be compared

    def path(self, uri: str) -> Path:
        """Where the object is, or would be. Raises KeyOutside."""
        place = self._place(uri)
        if os.path.realpath(place) != place:
            raise KeyOutside(f"{uri!r} leads through a symbolic link")
        return Path(place)

    async def exists(self, uri: str) -> bool:
        """A file, or a directory that is not empty."""
        path = self.path(uri)
        return path.is_file() or (path.is_dir() and any(path.iterdir()))

    async def read(self, uri: str, limit: int = -1) -> bytes | None:
        """The file's content. What is no file is no object: nothing that a step leaves may hold the reader up."""
        place = self._place(uri)
        try:
            number = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            self.path(uri)  # or it is a link that leads nowhere
            return None
        try:
            if os.readlink(f"/proc/self/fd/{number}") != place:  # noqa: PTH115  # asked of the file that is open
                raise KeyOutside(f"{uri!r} leads through a symbolic link")
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return None
            with open(number, "rb", closefd=False) as file:  # noqa: ASYNC230  # some kilobytes in the page cache
                return file.read(limit)
        finally:
            os.close(number)

    async def write(self, uri: str, content: bytes) -> None:
        """Written beside its place, then moved there."""
        path = self.path(uri)

        def store() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(content)
            partial.replace(path)

        await asyncio.to_thread(store)

    async def remove(self, uri: str) -> None:
        """A file, or a whole directory."""
        path = self.path(uri)
        if path.is_dir():
            await asyncio.to_thread(shutil.rmtree, path)
        else:
            path.unlink(missing_ok=True)
