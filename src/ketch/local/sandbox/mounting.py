"""A container's file system made by the kernel's mount calls, as bubblewrap would make it.

What may go wrong in ways of its own (links inside volumes, say) raises OSError: bubblewrap then finds the words.
"""

import ctypes
import errno
import os
import stat

from ketch.local.sandbox.beneath import open_below, open_beneath
from ketch.local.sandbox.bubblewrap import Refused, depth, fresh_layer, overlay_layers
from ketch.local.sandbox.namespaces import checked, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.local.sandbox.wire import MountRequest

# The numbers of these calls are the same on every machine; pivot_root is older than that agreement.
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
CLONE, CLOEXEC = 1, os.O_CLOEXEC
FROM_DESCRIPTOR, TO_DESCRIPTOR = 0x04, 0x40
SET_FLAG, SET_STRING, CREATE = 0, 1, 6
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC = 1, 2, 4, 8
MS_PRIVATE, MS_SLAVE, MS_REC, MNT_DETACH = 1 << 18, 1 << 19, 1 << 14, 2

CLOSED, OPEN = 0o700, 0o755
"""Modes of directories on the way to a mount that nobody asked for: bubblewrap's."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
    *((name, f"/proc/self/fd/{number}") for number, name in enumerate(("stdin", "stdout", "stderr"))),
)
COVERED = ("sys", "sysrq-trigger")
"""Places in /proc that belong to the machine. They are root's by number: root could write there without any right."""

COVERED_IF_OPEN = ("irq", "bus")
"""More of them, which bubblewrap leaves alone where they cannot be written to anyway."""

_NULL = ctypes.c_void_p(None)
_ZERO = ctypes.c_long(0)


def _call(
    number: int, *arguments: "ctypes.c_long | ctypes.c_void_p | bytes | int | ctypes.Array[ctypes.c_uint64]"
) -> int:
    result = libc.syscall(number, *arguments)
    checked(result)
    return result


def _bytes(path: str) -> bytes:
    return os.fsencode(path)


def available() -> bool:
    """Whether this machine's kernel has the calls."""
    if os.uname().machine not in PIVOT_ROOT:
        return False
    # A call that exists complains of its descriptor.
    return libc.syscall(MOUNT_SETATTR, -1, b"", 0, _NULL, _ZERO) == -1 and ctypes.get_errno() != errno.ENOSYS


def clone_tree(path: str, *, recursive: bool = True) -> int:
    """A mount of what stands at ``path``, attached nowhere."""
    flags = CLONE | CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _call(OPEN_TREE, AT_FDCWD, _bytes(path), flags)


def restrict(tree: int, attributes: int, *, recursive: bool = True) -> None:
    """Add attributes to a mount, and to those below it."""
    structure = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _call(MOUNT_SETATTR, tree, b"", flags, structure, ctypes.c_long(ctypes.sizeof(structure)))


def new_file_system(kind: str, options: "Iterable[tuple[str, str | None]]", attributes: int = NO_SUID | NO_DEV) -> int:
    """A mount of a new file system, attached nowhere."""
    context = _call(FSOPEN, kind.encode(), 1)
    try:
        for name, value in options:
            if value is None:
                _call(FSCONFIG, context, SET_FLAG, name.encode(), _NULL, 0)
            else:
                _call(FSCONFIG, context, SET_STRING, name.encode(), _bytes(value), 0)
        _call(FSCONFIG, context, CREATE, _NULL, _NULL, 0)
        return _call(FSMOUNT, context, 1, attributes)
    finally:
        os.close(context)


class Root:
    """A new root that is being furnished; ``place`` is an empty directory on which it stands meanwhile."""

    def __init__(self, place: str) -> None:
        checked(libc.mount(None, b"/", None, MS_SLAVE | MS_REC, None))
        root = new_file_system("tmpfs", (("mode", "0755"),))
        spot = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _attach_at(root, spot)
        self._root = root
        self._folders = {"": root}

    def enter(self) -> None:
        """Make it the root of this process: what was there before is gone."""
        os.fchdir(self._root)
        _call(PIVOT_ROOT[os.uname().machine], b".", b".")
        # The old root lies on the new one now. Nothing of its end may travel to where it came from.
        checked(libc.mount(None, b".", None, MS_SLAVE | MS_REC, None))
        checked(libc.umount2(b".", MNT_DETACH))
        os.chdir("/")
        for folder in self._folders.values():
            os.close(folder)

    def attach(self, tree: int, target: str, parents: int = CLOSED) -> None:
        """Put a mount in place, at a place that is made if it is not there, with its ``parents`` of that mode."""
        path = target.strip("/")
        folder, _, name = path.rpartition("/")
        parent = self._folder(folder, parents, parents)
        try:
            if stat.S_ISDIR(os.fstat(tree).st_mode):
                os.mkdir(name, dir_fd=parent)
            else:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=parent))
        except FileExistsError:
            spot = self._open(path)
        else:
            spot = None
        if spot is None:
            _call(MOVE_MOUNT, tree, b"", parent, _bytes(name), FROM_DESCRIPTOR)
        else:
            _attach_at(tree, spot)
            for known in [each for each in self._folders if each == path or each.startswith(f"{path}/")]:
                os.close(self._folders.pop(known))
        os.close(tree)

    def bind(self, source: str, target: str, attributes: int) -> None:
        """Show what stands at ``source``, with all that is mounted below it."""
        self._show(clone_tree(source), target, attributes)

    def bind_open(self, source: int, target: str, attributes: int) -> None:
        """The same for what is open already, which is closed."""
        try:
            tree = _call(OPEN_TREE, source, b"", CLONE | CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH)
        finally:
            os.close(source)
        self._show(tree, target, attributes)

    def _show(self, tree: int, target: str, attributes: int) -> None:
        restrict(tree, attributes)
        self.attach(tree, target)

    def directory(self, target: str, mode: int) -> None:
        """An empty directory."""
        self._folder(target.strip("/"), mode, OPEN)

    def link(self, target: str, says: str) -> None:
        """A symbolic link."""
        folder, _, name = target.strip("/").rpartition("/")
        os.symlink(says, name, dir_fd=self._folder(folder, CLOSED, CLOSED))

    def _folder(self, path: str, mode: int, parents: int) -> int:
        """A descriptor of the directory, made if it is not there; it stays open."""
        if path in self._folders:
            return self._folders[path]
        above, _, name = path.rpartition("/")
        parent = self._folder(above, parents, parents)
        try:
            os.mkdir(name, mode, dir_fd=parent)
        except FileExistsError:
            found = self._open(path)
        else:
            found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        self._folders[path] = found
        return found

    def _open(self, path: str) -> int:
        return open_below(self._root, path)


def _attach_at(tree: int, spot: int) -> None:
    try:
        _call(MOVE_MOUNT, tree, b"", spot, b"", FROM_DESCRIPTOR | TO_DESCRIPTOR)
    finally:
        os.close(spot)


def furnish(root: Root, mounts: "Iterable[MountRequest]", scratch: str, *, init: bool = True) -> None:
    """All that every container has, then ``mounts``; writable layers are made below ``scratch``.

    ``init``: this process is in a PID namespace of its own, which /proc is to show.
    """
    umask = os.umask(0)
    if init:
        _processes(root)
    else:
        root.bind("/proc", "/proc", NO_SUID | NO_DEV | NO_EXEC)
    _devices(root)
    if os.path.exists("/sys/devices/system"):  # noqa: PTH110  # pathlib is not loaded in keepers
        root.bind("/sys/devices/system", "/sys/devices/system", READ_ONLY | NO_SUID | NO_DEV)
    os.umask(umask)
    add(root, mounts, scratch)


def add(root: Root, mounts: "Iterable[MountRequest]", scratch: str) -> None:
    """More ``mounts``, over those that are there."""
    umask = os.umask(0)
    for number, mount in enumerate(sorted(mounts, key=depth)):
        _make(root, mount, f"{scratch}/{number}")
    os.umask(umask)


def _processes(root: Root) -> None:
    root.attach(new_file_system("proc", (), NO_SUID | NO_DEV | NO_EXEC), "/proc")
    for names, access, attributes in ((COVERED, os.F_OK, 0), (COVERED_IF_OPEN, os.W_OK, NO_EXEC)):
        for path in (f"/proc/{name}" for name in names):
            if os.access(path, access):
                root.bind(path, path, READ_ONLY | NO_SUID | NO_DEV | attributes)


def _devices(root: Root) -> None:
    root.attach(new_file_system("tmpfs", (("mode", "0755"),)), "/dev")
    for name in DEVICES:
        root.bind(f"/dev/{name}", f"/dev/{name}", NO_SUID)
    for name, says in DEVICE_LINKS:
        root.link(f"/dev/{name}", says)
    root.directory("/dev/shm", 0o755)  # noqa: S108  # the container's own
    options = (("newinstance", None), ("ptmxmode", "0666"), ("mode", "620"))
    root.attach(new_file_system("devpts", options, NO_SUID | NO_EXEC), "/dev/pts")


def _make(root: Root, mount: "MountRequest", layer: str) -> None:
    kind, source, target, mode = mount["kind"], mount["source"], mount["target"], mount["mode"]
    if not target.startswith("/"):
        raise OSError(errno.EINVAL, "a relative place")
    match kind:
        case "bind" | "ro-bind":
            attributes = NO_SUID | NO_DEV | (READ_ONLY if kind == "ro-bind" else 0)
            if below := mount.get("beneath", ""):
                root.bind_open(open_beneath(source, below, make=mount.get("make", False)), target, attributes)
            else:
                root.bind(source, target, attributes)
        case "dev-bind":
            root.bind(source, target, NO_SUID)
        case "scratch":
            root.bind(fresh_layer(layer, mode), target, NO_SUID | NO_DEV)
        case "overlay":
            upper, work = overlay_layers(layer, mode)
            folders = (source, *mount.get("lower", ()))
            if any(sign in path for path in (*folders, upper) for sign in ":\\"):
                raise OSError(errno.EINVAL, "a path that overlay takes for several")
            layers = (("lowerdir", ":".join(folders)), ("upperdir", upper), ("workdir", work))
            # Volatile: what ends with the container need not be on disk, so its end need not wait for that.
            root.attach(new_file_system("overlay", (*layers, ("userxattr", None), ("volatile", None)), 0), target)
        case "tmpfs":
            size = () if mount["size"] is None else (("size", str(mount["size"])),)
            options = (("mode", f"{0o777 if mode is None else mode:o}"), *size)
            root.attach(new_file_system("tmpfs", options), target, OPEN)
        case "directory":
            root.directory(target, 0o755 if mode is None else mode)
        case "symlink":
            root.link(target, source)
        case _:
            raise Refused(f'there is no mount of kind "{kind}"')
