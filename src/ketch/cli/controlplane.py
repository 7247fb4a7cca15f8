"""The control plane's process: API server, scheduler, controllers and platform APIs on one event loop.

``python -m ketch.cli.controlplane --data-dir D``, started by the supervisor with its listening sockets. It may be
killed at any time: what it acknowledged is on disk, and everything else is made again from that.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop

from ketch.cli.names import KUBERNETES_SOCKETS, NODE_NAME, PLATFORM_SOCKET
from ketch.cli.parts import OPTION, Part, Parts
from ketch.cli.serving import served
from ketch.kube.admission import Admission
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.manager import Manager
from ketch.kube.rest import RESTClient
from ketch.kube.sharing import Lean, without_work
from ketch.kube.types.pods import Pod
from ketch.local import scheduler, workloads
from ketch.local.apiserver.audit.policy import PolicyError
from ketch.local.apiserver.server import APIServer
from ketch.local.apiserver.store.records import StoreCorrupt
from ketch.local.network.client import NetworkClient, NetworkError
from ketch.local.network.wire import SOCKET_NAME
from ketch.local.platform.directory import DataDirectory
from ketch.local.platform.process import inherited_sockets
from ketch.local.program import UNUSABLE, announce_ready, collect_rarely, log_to_stderr, take_short_turns
from ketch.metadata.database import Database, DatabaseUnusable
from ketch.metadata.objects import LocalObjectStore
from ketch.pipelines.native.setup import admissions as pipelines_admissions
from ketch.pipelines.settings import SettingsError, read_settings
from ketch.pipelines.setup import setup as setup_pipelines
from ketch.training.progress.telling import StatusAddress
from ketch.training.setup import admissions as training_admissions
from ketch.training.setup import setup as setup_training

STATUS_ADDRESS = StatusAddress("https://kubernetes.default.svc", certificates="kube-root-ca.crt")
"""How pods reach the status endpoint of training jobs: it is a door of the API server."""

AUDIT_LOG = "audit.log"
OWNER_ONLY = 0o077
"""What the databases are made with: a second line behind the closed data directory."""


def _sockets(names: Sequence[str]) -> list[socket.socket]:
    inherited = inherited_sockets()
    return [socket.socket(fileno=inherited[name]) for name in names if name in inherited]


def _write_kubeconfigs(api: APIServer, directory: DataDirectory, port: int) -> None:
    server = f"https://localhost:{port}"
    api.write_admin_kubeconfig(directory.kubeconfig, server)
    api.write_node_kubeconfig(directory.node_kubeconfig, server, NODE_NAME)


def _dial(directory: DataDirectory) -> Callable[[str, int], Awaitable[socket.socket]]:
    """Connections into the cluster's network, where webhooks are."""
    network = NetworkClient(directory.run / SOCKET_NAME)

    async def dial(host: str, port: int) -> socket.socket:
        try:
            return await network.connect(host, port)
        except NetworkError as error:
            raise OSError(str(error)) from error

    return dial


async def _serve(directory: DataDirectory, without: Parts) -> None:
    with ExitStack() as closing:
        kubernetes, platform = (
            [closing.enter_context(each) for each in _sockets(names)]
            for names in (KUBERNETES_SOCKETS, (PLATFORM_SOCKET,))
        )
        await _run(directory, kubernetes, platform, without)


def _admissions(without: Parts) -> Sequence[Admission[Any]]:
    pipelines = () if Part.PIPELINES in without else pipelines_admissions()
    return (*pipelines, *(() if Part.TRAINING in without else training_admissions()))


async def _run(
    directory: DataDirectory, kubernetes: list[socket.socket], platform: list[socket.socket], without: Parts
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = Database(f"sqlite:///{directory.platform_database}")
    admissions = _admissions(without)
    async with APIServer(
        directory.kube_database,
        directory.pki,
        admissions=admissions,
        dial=_dial(directory),
        node_sockets=directory.run,
    ) as api:
        if directory.audit_policy.exists():
            api.audit(directory.audit_policy, directory.root / "logs" / AUDIT_LOG)
        await api.serve(kubernetes, directory.api_socket)
        _write_kubeconfigs(api, directory, kubernetes[0].getsockname()[1])
        manager = Manager(RESTClient(api.transport(), shared=True), SYSTEM_CLOCK, lean={Pod: Lean(without_work)})
        api.place_pods_by(await scheduler.setup(manager))
        workloads.setup(manager, api.authority.certificate.read_text())
        application = None
        if Part.PIPELINES not in without:
            application = await setup_pipelines(
                manager, database, LocalObjectStore(directory.objects), read_settings(os.environ)
            )
        if Part.TRAINING not in without:
            api.open_door(await setup_training(manager, STATUS_ADDRESS))
        running = asyncio.create_task(manager.run())
        async with served(application, platform):
            await manager.ready()
            announce_ready()
            collect_rarely()
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        outcome = await asyncio.gather(running, return_exceptions=True)
        await database.close()
    if isinstance(outcome[0], Exception):
        raise outcome[0]


def main() -> None:
    """Run until SIGTERM. Exit code 78 where the data directory's databases, or a setting, cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument(OPTION, type=Part, action="append", default=[])
    arguments = parser.parse_args()
    log_to_stderr()
    take_short_turns()
    collect_rarely()
    os.umask(OWNER_ONLY)
    try:
        uvloop.run(_serve(DataDirectory(arguments.data_dir), arguments.without))
    except (StoreCorrupt, DatabaseUnusable, SettingsError, PolicyError) as error:
        print(error, file=sys.stderr)  # noqa: T201  # the log's last line is what the user is told
        sys.exit(UNUSABLE)


if __name__ == "__main__":
    main()
