"""What several directories come to when they lie over each other, made without an overlay: of links, or of copies.

A character device 0/0 hides what lies below it, an attribute of a directory all that the directory has below it.
"""

# A layer may have a million files: paths are texts here, and pathlib is not loaded in keepers.
# ruff: noqa: PTH101, PTH102, PTH115, PTH123, PTH208, PTH211

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Place = Callable[[str, str, os.stat_result], None]

OPAQUE = "user.overlay.opaque"
MOST_AT_ONCE = 1 << 30


def is_whiteout(found: os.stat_result) -> bool:
    """Whether a file is one by which overlay hides another."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(path: str) -> bool:
    """Whether a directory hides all that it has in lower layers."""
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def make_opaque(path: str) -> None:
    """Have a directory hide all that it has in lower layers."""
    os.setxattr(path, OPAQUE, b"y", follow_symlinks=False)


def link_together(layers: "Sequence[str]", target: str) -> None:
    """Make ``target``, an empty directory, what ``layers`` come to, the lowest first. Files are shared with them."""

    def place(source: str, path: str, found: os.stat_result) -> None:  # noqa: ARG001  # as the other one
        os.link(source, path, follow_symlinks=False)

    _merge(layers, target, place)


def copy_together(layers: "Sequence[str]", target: str) -> None:
    """The same with files of its own; on file systems that can they share their blocks until one is written to."""
    seen: dict[tuple[int, int], str] = {}

    def place(source: str, path: str, found: os.stat_result) -> None:
        known = seen.setdefault((found.st_dev, found.st_ino), path)
        if known != path:
            os.link(known, path, follow_symlinks=False)
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(source), path)
        elif stat.S_ISREG(found.st_mode):
            _copy(source, path, found)
        elif stat.S_ISFIFO(found.st_mode):
            os.mkfifo(path, stat.S_IMODE(found.st_mode))

    _merge(layers, target, place)


def _copy(source: str, path: str, found: os.stat_result) -> None:
    with open(source, "rb", buffering=0) as original, open(path, "xb", buffering=0) as copy:
        while os.copy_file_range(original.fileno(), copy.fileno(), MOST_AT_ONCE):
            continue
        os.fchmod(copy.fileno(), stat.S_IMODE(found.st_mode))
        os.utime(copy.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))


def _merge(layers: "Sequence[str]", target: str, place: "Place") -> None:
    modes: dict[str, os.stat_result] = {}
    _merge_folder(layers, target, place, modes)
    for path, found in sorted(modes.items(), reverse=True):  # the deepest first: some of them let nobody in
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.chmod(path, stat.S_IMODE(found.st_mode))


def _merge_folder(folders: "Sequence[str]", target: str, place: "Place", modes: dict[str, os.stat_result]) -> None:
    """``folders`` are one directory of several layers; none of them is hidden by another."""
    modes[target] = os.lstat(folders[-1])
    inside: dict[str, list[str]] = {}
    for folder in folders:
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            found = os.lstat(path)
            known = inside.setdefault(name, [])
            below = os.lstat(known[-1]).st_mode if known else stat.S_IFDIR
            if not (stat.S_ISDIR(found.st_mode) and stat.S_ISDIR(below)) or is_opaque(path):
                known.clear()
            known.append(path)
    for name, sources in inside.items():
        path, found = f"{target}/{name}", os.lstat(sources[-1])
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(path, 0o700)
            _merge_folder(sources, path, place, modes)
        elif not is_whiteout(found):
            place(sources[-1], path, found)
