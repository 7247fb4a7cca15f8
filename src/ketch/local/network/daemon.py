"""The network daemon: ``python -m ketch.local.network.daemon --data-dir D``."""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from pathlib import Path

from ketch.local.network.capabilities import advice, consequence
from ketch.local.network.cluster import Cluster, establish
from ketch.local.network.isolated import IsolatedNetwork
from ketch.local.network.namespaces import NotPermitted
from ketch.local.network.networks import HostNetwork, Network
from ketch.local.network.server import ControlServer
from ketch.local.network.wire import SOCKET_NAME
from ketch.local.program import announce_ready, log_to_stderr

_LOG = logging.getLogger(__name__)
_BACKLOG = 256


def _control_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(_BACKLOG)
    return listener


def _inhabited(namespaces: set[int]) -> bool:
    """Whether any process that we may look at lives in one of these network namespaces."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if (process / "ns" / "net").stat().st_ino in namespaces:
                    return True
    return False


async def _serve(network: Network, listener: socket.socket) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(ControlServer(network).serve(listener))
    announce_ready()
    try:
        await stop.wait()
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await network.close()


async def _serve_isolated(cluster: Cluster, data_directory: Path) -> None:
    path = data_directory / "run" / SOCKET_NAME
    if not path.is_socket():
        cluster.holder.drop("socket:control")
    network = IsolatedNetwork(cluster, data_directory / "run", os.environ)
    await network.start()
    cluster.holder.watch(asyncio.get_running_loop())
    await _serve(network, cluster.keep_socket("control", lambda: _control_socket(path), inside=False))
    # Pods that live on keep their network, and the next daemon finds it.
    if not _inhabited(network.namespaces()):
        cluster.holder.end()
        path.unlink(missing_ok=True)


def main() -> None:
    """Find or make the cluster's network and serve it until told to end."""
    parser = argparse.ArgumentParser(prog="python -m ketch.local.network.daemon", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="the platform's data directory")
    data_directory: Path = parser.parse_args().data_dir.resolve()
    log_to_stderr()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    run = data_directory / "run"
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        cluster = establish(run)
    except NotPermitted as error:
        reason = f"{consequence(error.step)} ({error}; {advice(error.step)})"
        _LOG.warning(reason)
        asyncio.run(_serve(HostNetwork(reason), _control_socket(run / SOCKET_NAME)))
    else:
        asyncio.run(_serve_isolated(cluster, data_directory))
    logging.shutdown()
    os._exit(0)  # the host's resolver may keep a thread for many seconds: it is not waited for


if __name__ == "__main__":
    main()
