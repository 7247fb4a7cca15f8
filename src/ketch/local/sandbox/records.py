"""What a container's directory holds for whoever looks after it later."""

import errno
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SPEC, STARTED, EXIT, CLAIM = "spec.json", "started.json", "exit.json", "keeper"
SCRATCH = "scratch"
"""Where the container's writable layers are, while it lives."""


def write_record(path: str, record: "Mapping[str, Any]", *, durable: bool = True) -> None:
    """Put a JSON file in place in one step, on disk before this returns when ``durable``."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    content = json.dumps(record).encode("utf-8", "surrogateescape")
    try:
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)  # noqa: PTH104
    if durable:
        _sync(path.rpartition("/")[0])


def make_durable(path: str) -> None:
    """See to it that a record that was put in place is on disk."""
    _sync(path)
    _sync(path.rpartition("/")[0])


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_record(path: str) -> "Any":
    """The content of a record. Raises FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return json.loads(file.read().decode("utf-8", "surrogateescape"))


def remove_tree(path: str, *, closed: bool = False) -> None:
    """Remove a directory and all below it, as far as that is possible; links are not followed."""
    try:
        if closed:
            os.chmod(path, 0o700)  # noqa: PTH101
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                else:
                    os.unlink(entry.path)  # noqa: PTH108
        os.rmdir(path)  # noqa: PTH106
    except PermissionError:
        if not closed:  # overlay's work directories are closed to everyone, and others as their users like it
            remove_tree(path, closed=True)
    except OSError:
        return
