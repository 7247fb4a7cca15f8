"""A place below a folder, found so that no link in it leads out, whoever changes the folder meanwhile."""

import ctypes
import errno
import os

from ketch.local.sandbox.namespaces import checked, libc

OPENAT2 = 437
"""The same number on every machine."""

RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 0x02, 0x08
FOLDER_MODE = 0o755
LEADS_OUT = (errno.EXDEV, errno.ELOOP)


def open_below(folder: int, relative: str) -> int:
    """A descriptor (O_PATH) of what stands at ``relative`` below an open folder; links inside it are followed."""
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    found = libc.syscall(OPENAT2, folder, os.fsencode(relative), how, ctypes.c_long(ctypes.sizeof(how)))
    checked(found)
    return found


def open_beneath(root: str, relative: str, *, make: bool) -> int:
    """The same below the folder at ``root``; with ``make``, folders that are missing are made. Raises OSError."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not make:
            return open_below(top, relative)
        parts = [part for part in relative.split("/") if part not in ("", ".")]
        found = os.dup(top)
        for number, part in enumerate(parts, 1):
            parent, found = found, -1
            try:
                found = _made(top, parent, "/".join(parts[:number]), part)
            finally:
                os.close(parent)
        return found
    finally:
        os.close(top)


def _made(top: int, parent: int, path: str, name: str) -> int:
    try:
        return open_below(top, path)
    except FileNotFoundError:
        _make(parent, name)
    return open_below(top, path)


def _make(parent: int, name: str) -> None:
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    except FileExistsError:
        return  # somebody was quicker, or it is a link that leads nowhere: that fails next


def said(relative: str, error: OSError) -> str:
    """The error as a sentence for who asked for the place."""
    if error.errno in LEADS_OUT:
        return f'subPath "{relative}" leads out of the volume'
    if error.errno == errno.ENOENT:
        return f'subPath "{relative}" does not exist in the volume'
    return f'subPath "{relative}": {(error.strerror or str(error)).lower()}'
