"""What a container is to the sandbox: values that say everything, and nothing of pods."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from ketch.local.sandbox.ending import Ending

MountKind = Literal["bind", "ro-bind", "dev-bind", "tmpfs", "overlay", "scratch", "directory", "symlink"]
"""What stands at a mount's target.

``bind``, ``ro-bind``, ``dev-bind``: the source file or directory itself. ``overlay``: the source directory over those
of ``lower`` (the highest first), writable for this container alone; at ``/`` all else is put into it. ``scratch``: an
empty writable directory on disk. ``tmpfs``: the same in memory, of at most ``size`` bytes. ``directory``: an empty
directory. ``symlink``: a link that says ``source``.

Of a bound folder, ``beneath`` names what is meant below it; no link leads out, and with ``make`` folders that are
missing are made.
"""


@dataclass(frozen=True)
class Mount:
    """One place of a container's file system. What a container writes to overlay and scratch ends with it."""

    kind: MountKind
    target: str
    source: str = ""
    mode: int | None = None
    size: int | None = None
    lower: tuple[str, ...] = ()
    beneath: str = ""
    make: bool = False


@dataclass(frozen=True)
class WarmStart:
    """How a container's process comes from a warm interpreter; the container's ``argv`` says the same for a cold start.

    It is as ``PROGRAM -m MODULE ARGUMENTS`` with ``env`` added to the container's. A ``text`` is written to a file
    ``text_name`` in a directory of its own, whose path is argument ``text_at``. ``below_shell``: in a cold start a
    shell would wait for the process, and tell of the signal that ends it. ``furniture``: the mounts of the container
    that all containers of the template have.
    """

    template: Path
    program: str
    module: str
    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str | None = None
    text_name: str = ""
    text_at: int = 0
    below_shell: bool = False
    furniture: frozenset[Mount] = frozenset()


@dataclass(frozen=True)
class Rehearsal:
    """A run of ``python -m module`` that leaves nothing behind, for a warm interpreter to know the way.

    Of ``arguments``, "{text}" is a file with ``text`` in it, and "{folder}" a folder for what the program writes.
    """

    module: str
    arguments: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class TemplateSpec:
    """A warm interpreter: ``argv`` is its program, ``imports`` is what every process of it has imported already.

    ``extras`` are imported too, and become visible when a process imports them. ``furniture`` are mounts that its
    containers have, made before anyone asks for one. ``rehearsal`` is what most of them will do. It ends when it was
    not asked for ``idle`` seconds, and with the zygote.
    """

    socket: Path
    log: Path
    argv: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]
    imports: tuple[str, ...]
    extras: tuple[str, ...] = ()
    idle: int = 900
    furniture: tuple[Mount, ...] = ()
    rehearsal: Rehearsal | None = None


@dataclass(frozen=True)
class ContainerSpec:
    """A container to start.

    ``directory`` is its own and new: records, writable layers. Mounts are made in the order of their targets' depth,
    later ones over earlier ones. ``user`` and ``group`` are what the process sees itself as; every one of them is the
    platform's user outside. ``stdin`` stays open for clients (``interactive``), with ``stdin_once`` until the first one
    has said all; with ``tty`` the standard streams are a terminal. ``processes_of`` is the directory of
    a running container: this one lives among its processes, and ends with it. Mounts at ``read_only`` targets are
    closed to writing once all is in place. ``sysctls`` are set in the network's namespace.
    """

    directory: Path
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    cwd: str = "/"
    mounts: tuple[Mount, ...] = ()
    hostname: str = "localhost"
    user: int | None = None
    group: int | None = None
    memory_bytes: int | None = None
    cpu_millis: int | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    processes_of: Path | None = None
    read_only: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict[str, str])
    warm: WarmStart | None = None
    extra: Mapping[str, str] = field(default_factory=dict[str, str])
    """Kept in the records as it is, for whoever adopts the container."""


@dataclass(frozen=True)
class Started:
    """A container's process runs. ``pid`` is the user's process, as the platform sees it.

    ``ending`` tells its starter of its end; where there is none, the keeper's own end does.
    """

    keeper_pid: int
    pid: int
    started_at: datetime
    warm: bool = False
    ending: Ending | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Exit:
    """How a container ended; ``code`` is 128 + the signal's number when a signal ended it."""

    code: int
    signal: int | None
    oom_killed: bool
    reason: str
    message: str
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True)
class ExecResult:
    """How a command in a running container ended, with what it wrote to stdout and stderr."""

    code: int
    output: bytes
