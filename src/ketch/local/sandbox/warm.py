"""A container whose process is forked from a warm interpreter: what its keeper does to have it so.

The keeper makes the container's first process itself: it is init of a PID namespace of its own, furnishes the file
system, and becomes the parent of what the warm interpreter (``template``) sends into it. What does not go that way is
``Unwarmed``: the container then starts as any other.
"""

import array
import json
import os
import signal
import socket

from ketch.local.processes import children, send_signal
from ketch.local.sandbox.bubblewrap import Refused
from ketch.local.sandbox.mounting import Root, furnish
from ketch.local.sandbox.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    close_from,
    die_with_parent,
    fork_into_pid_namespace,
    unshare,
)
from ketch.local.sandbox.records import SCRATCH, read_record, remove_tree
from ketch.local.sandbox.template import READY, REPORT_SUFFIX, WITH_NETWORK, WITHOUT_NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from ketch.local.sandbox.wire import StartRequest, WarmRequest

PATIENCE = 5.0
"""Seconds until a container that does not begin is begun the ordinary way, and its template is given up."""

FAILED, LONGEST_WORD = 125, 4096
QUIET_ENDS = (signal.SIGINT, signal.SIGPIPE)
"""Signals of whose victims a shell does not speak."""


class Unwarmed(Exception):
    """The container cannot begin this way; nothing of it is left."""


class WarmProgram:
    """A container's init, made by its keeper, and the user's process below it. Raises Unwarmed, OSError.

    When it is made it is on its way: there is time for other things before ``await_start``.
    """

    def __init__(self, request: "StartRequest", warm: "WarmRequest", *, network: bool) -> None:
        (self.stdout, stdout), (self.stderr, stderr), (stands, standing) = os.pipe(), os.pipe(), os.pipe()
        born, bearing = os.pipe()
        self._template = warm["template"]
        self._way, theirs = socket.socketpair()
        self.early_stderr = b""
        self.user_pid = 0
        self.pid = self.init = fork_into_pid_namespace()
        if self.pid == 0:
            _be_init(request, warm, (standing, born, stderr))
        given = [os.pidfd_open(self.pid), _in_memory(request, warm), stdout, stderr, stands, theirs.detach(), bearing]
        try:
            _ask(self._template, WITH_NETWORK if network else WITHOUT_NETWORK, given)
        except OSError:
            self.undo()
            raise
        finally:
            for number in (*given, standing, born):
                os.close(number)

    def await_start(self) -> None:
        """Wait until the user's process may run, and let it. Raises Unwarmed, OSError."""
        try:
            self._way.settimeout(PATIENCE)
            if (word := self._way.recv(LONGEST_WORD)) != READY:
                raise Unwarmed(word.decode(errors="replace"))
            self.user_pid = children(self.init)[0]
            self._way.send(READY)
            self._way.close()
        except (OSError, IndexError, Unwarmed) as error:
            self.undo()
            if isinstance(error, TimeoutError):
                _end_template(self._template)
            raise Unwarmed(str(error)) from error

    def undo(self) -> None:
        """End what is on its way, and wait for its end."""
        os.close(self.stdout)
        os.close(self.stderr)
        self._way.close()
        self.kill()
        self.reap()

    def reap(self) -> int:
        """Wait for the end of the container: its exit code."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """End every process of the container."""
        try:
            os.kill(self.init, signal.SIGKILL)
        except ProcessLookupError:
            return


def begin(request: "StartRequest", *, network: bool) -> WarmProgram | None:
    """The container on its way, if it is one for a warm interpreter and one is there; else nothing has happened."""
    warm = request["warm"]
    if warm is None or not os.path.exists(warm["template"]):  # noqa: PTH110  # pathlib is not loaded in keepers
        return None
    try:
        return WarmProgram(request, warm, network=network)
    except OSError:
        _forget(request)
        return None


def started(container: WarmProgram | None, request: "StartRequest") -> WarmProgram | None:
    """What ``begin`` began, once it runs; None when it never will, and nothing has happened."""
    if container is None:
        return None
    try:
        container.await_start()
    except (OSError, Unwarmed):
        _forget(request)
        return None
    return container


def _forget(request: "StartRequest") -> None:
    remove_tree(f"{request['directory']}/{SCRATCH}")


def _in_memory(request: "StartRequest", warm: "WarmRequest") -> int:
    """A descriptor from which the template's child reads who it is."""
    told = {name: warm[name] for name in ("program", "module", "arguments", "text", "text_name", "text_at")}
    # PWD: as bubblewrap sets it.
    told |= {"cwd": request["cwd"], "env": {**request["env"], "PWD": request["cwd"], **warm["env"]}}
    descriptor = os.memfd_create("process")
    os.write(descriptor, json.dumps(told).encode("utf-8", "surrogateescape"))
    return descriptor


def _ask(template: str, word: bytes, descriptors: "Sequence[int]") -> None:
    """Send the template a request. Raises OSError when it is gone or overwhelmed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
        way.settimeout(PATIENCE)
        way.connect(template)
        way.sendmsg([word], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


def _end_template(template: str) -> None:
    """End a template that does not answer: the next one will."""
    try:
        report = read_record(f"{template}{REPORT_SUFFIX}")
    except (OSError, ValueError):
        return
    send_signal(report["pid"], report["ticks"], signal.SIGKILL)


def _be_init(request: "StartRequest", warm: "WarmRequest", descriptors: "Sequence[int]") -> "NoReturn":
    """The container's first process: furnish it, then wait for the end of the one that matters.

    It keeps its rights: so nobody in the container may look into it, and it has nothing else to do with them.
    """
    code = FAILED
    try:
        die_with_parent()
        for number in range(2):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        standing, born, stderr = _in_order(descriptors)
        unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
        socket.sethostname(request["hostname"])
        scratch = f"{request['directory']}/{SCRATCH}"
        os.mkdir(scratch, 0o700)  # noqa: PTH102
        # On a directory that is there and that no mount comes from: this process alone sees what stands on it.
        root = Root(warm["template"].rpartition("/")[0])
        furnish(root, request["mounts"], scratch)
        root.enter()
        os.write(standing, READY)
        os.close(standing)
        pid = int.from_bytes(os.read(born, 4), "big")
        os.close(born)
        if pid:
            code = _outlive(pid, stderr, speak=warm["below_shell"])
    except (OSError, Refused) as error:
        os.write(2, f"keeper: not from a template: {error}\n".encode())
    finally:
        os._exit(code)


def _in_order(descriptors: "Sequence[int]") -> "Sequence[int]":
    """The descriptors under the lowest numbers, all others closed."""
    high = [os.dup2(number, 100 + index, inheritable=False) for index, number in enumerate(descriptors)]
    low = [os.dup2(number, 3 + index, inheritable=False) for index, number in enumerate(high)]
    close_from(3 + len(low))
    return low


def _outlive(pid: int, stderr: int, *, speak: bool) -> int:
    """Bury whoever is left to this process until ``pid`` has ended: its exit code."""
    while True:
        ended, status = os.wait()
        if ended != pid:
            continue
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return code
        if speak and -code not in QUIET_ENDS:
            core = " (core dumped)" if os.WCOREDUMP(status) else ""
            os.write(stderr, f"{signal.strsignal(-code)}{core}\n".encode())
        return 128 - code
