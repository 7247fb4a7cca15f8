"""A container's request as bubblewrap's arguments, and bubblewrap's complaints as sentences."""

import os

from ketch.local.sandbox.beneath import open_beneath, said
from ketch.local.sandbox.records import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.local.sandbox.wire import MountRequest, StartRequest

NOT_FOUND, NOT_EXECUTABLE, CANNOT_START = 127, 126, 128

CONTROLLING = ("/usr/bin/setsid", "-c")
"""Gives the program the terminal that it is started on: without, a shell there has no jobs and no Ctrl-C."""

NEW_SESSION = "--new-session"
OWN_PROCESSES = "--unshare-pid"
PROCESSES_FD = 5
"""Where bubblewrap finds the PID namespace that a container shares with another."""

ALWAYS = (
    OWN_PROCESSES,
    "--unshare-ipc",
    "--unshare-uts",
    # With its keeper the container ends, so nobody runs whom nobody watches.
    "--die-with-parent",
    # Else kill(0, ...) would reach the keeper, which is of the same process group.
    NEW_SESSION,
    "--cap-drop",
    "ALL",
    "--clearenv",
    "--proc",
    "/proc",
    # These files belong to root by number: without capabilities they would still be root's to write.
    "--ro-bind",
    "/proc/sys",
    "/proc/sys",
    "--ro-bind-try",
    "/proc/sysrq-trigger",
    "/proc/sysrq-trigger",
    "--dev",
    "/dev",
    "--ro-bind-try",
    "/sys/devices/system",
    "/sys/devices/system",
)


class Refused(Exception):
    """The container cannot be made as it is asked for; ``code`` is what a shell would exit with."""

    def __init__(self, message: str, code: int = CANNOT_START) -> None:
        super().__init__(message)
        self.code = code


def depth(mount: "MountRequest") -> int:
    """How deep below the root the mount stands."""
    return len([part for part in mount["target"].split("/") if part])


def fresh_layer(path: str, mode: "int | None") -> str:
    """A new directory for what a container writes; ``mode`` is 755 when it is not said."""
    os.mkdir(path)  # noqa: PTH102
    os.chmod(path, 0o755 if mode is None else mode)  # noqa: PTH101  # mkdir's mode is cut by the umask
    return path


def overlay_layers(layer: str, mode: "int | None") -> tuple[str, str]:
    """New directories for an overlay's changes and for its work."""
    return fresh_layer(layer, mode), fresh_layer(f"{layer}.work", None)


def mount_arguments(mount: "MountRequest", layer: str) -> "Sequence[str]":
    """The arguments that make one mount; its writable layer, if it has one, is made at ``layer``. Raises Refused."""
    kind, source, target = mount["kind"], mount["source"], mount["target"]
    if not target.startswith("/"):
        raise Refused(f'cannot mount at "{target}": the path in the container must be absolute')
    mode = mount["mode"]
    match kind:
        case "bind" | "ro-bind" | "dev-bind":
            if not os.path.lexists(source):
                raise Refused(f'cannot mount "{source}" at "{target}": the source does not exist')
            if below := mount.get("beneath", ""):
                return f"--{kind}-fd", str(_inherited(source, below, make=mount.get("make", False))), target
            return f"--{kind}", source, target
        case "scratch":
            return "--bind", fresh_layer(layer, mode), target
        case "overlay":
            folders = (*reversed(mount.get("lower", ())), source)
            if missing := next((each for each in folders if not os.path.isdir(each)), None):  # noqa: PTH112
                raise Refused(f'cannot mount at "{target}": "{missing}" is no directory')
            if mount.get("copied", False):
                return "--bind", _copied(folders, fresh_layer(layer, mode)), target
            sources = [word for each in folders for word in ("--overlay-src", each)]
            return *sources, "--overlay", *overlay_layers(layer, mode), target
        case "tmpfs":
            size = mount["size"]
            limit = () if size is None else ("--size", str(size))
            return "--perms", f"{0o777 if mode is None else mode:o}", *limit, "--tmpfs", target
        case "directory":
            return "--perms", f"{0o755 if mode is None else mode:o}", "--dir", target
        case "symlink":
            return "--symlink", source, target
        case _:
            raise Refused(f'cannot mount at "{target}": there is no mount of kind "{kind}"')


def _copied(folders: "Sequence[str]", target: str) -> str:
    """The directory ``target``, made what an overlay would show. Raises Refused."""
    from ketch.local.sandbox.layering import copy_together  # noqa: PLC0415  # hardly any keeper needs it

    try:
        copy_together(folders, target)
    except OSError as error:
        raise Refused(f"cannot copy the container's files, and this machine permits no overlay: {error}") from error
    return target


def _inherited(root: str, below: str, *, make: bool) -> int:
    """A place below a folder, open for bubblewrap, which closes it. Raises Refused."""
    try:
        found = open_beneath(root, below, make=make)
    except OSError as error:
        raise Refused(said(below, error)) from error
    os.set_inheritable(found, True)
    return found


def controlling(request: "StartRequest") -> "Sequence[str]":
    """What has to come before the program for it to have the terminal; a file system of its own may lack that."""
    root = next((mount for mount in request["mounts"] if not depth(mount)), None)
    folders = ("",) if root is None else (root["source"], *root.get("lower", ()))
    there = request["tty"] and any(os.path.lexists(f"{folder}{CONTROLLING[0]}") for folder in folders)
    return CONTROLLING if there else ()


def arguments(request: "StartRequest") -> "Sequence[str]":
    """All options for the container; makes its writable layers. Raises Refused."""
    # A program with a terminal begins a session of its own, else it could not have it.
    always = [option for option in ALWAYS if option != NEW_SESSION or not controlling(request)]
    if request["processes_of"]:
        always = [option for option in always if option != OWN_PROCESSES]
        always += "--pidns", str(PROCESSES_FD)
    options = [*always, "--hostname", request["hostname"]]
    user, group = request["user"], request["group"]
    if user or group:
        options += "--unshare-user", "--uid", str(user or 0), "--gid", str(group or 0)
    scratch = f"{request['directory']}/{SCRATCH}"
    os.mkdir(scratch, 0o700)  # noqa: PTH102
    for number, mount in enumerate(sorted(request["mounts"], key=depth)):
        words = mount_arguments(mount, f"{scratch}/{number}")
        place = len(options) if depth(mount) else 0  # in what stands at / all else is put
        options[place:place] = words
    for target in request["read_only"]:
        options += "--remount-ro", target
    for name, value in request["env"].items():
        options += "--setenv", name, value
    options += "--chdir", request["cwd"]
    if any("\0" in option for option in options):
        raise Refused("cannot start: a path or an environment variable contains a zero byte")
    return options


def refusal(complaint: str, request: "StartRequest") -> Refused:
    """What bubblewrap says when it gives up, as a sentence for the user."""
    lines = [line.removeprefix("bwrap: ") for line in complaint.splitlines() if line.startswith("bwrap: ")]
    said = lines[-1] if lines else complaint.strip() or "bubblewrap ended without a word"
    program = request["argv"][0]
    if said.startswith("execvp "):
        if said.endswith("No such file or directory"):
            if "/" in program:
                return Refused(f'exec: "{program}": stat {program}: no such file or directory', NOT_FOUND)
            return Refused(f'exec: "{program}": executable file not found in $PATH', NOT_FOUND)
        return Refused(f'exec: "{program}": {said.rpartition(": ")[2].lower()}', NOT_EXECUTABLE)
    if said.startswith("Can't chdir to "):
        return Refused(
            f'the working directory "{request["cwd"]}" cannot be entered: {said.rpartition(": ")[2].lower()}'
        )
    if "user namespace" in said or "Creating new namespace failed" in said:
        return Refused(f"cannot make the sandbox: this machine does not permit it ({said}): see 'ketch doctor'")
    return Refused(f"cannot make the sandbox: {said}")
