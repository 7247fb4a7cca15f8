"""Which programs make a platform, on which sockets and files."""

import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ketch.cli.names import KUBERNETES_SOCKETS, NODE_NAME, NODE_SOCKET, PLATFORM_SOCKET
from ketch.cli.parts import Part, Parts, arguments
from ketch.local.network.holding import RECORD_NAME as HOLDER_RECORD
from ketch.local.network.holding import end_holder
from ketch.local.platform.directory import DataDirectory
from ketch.local.platform.gateway import (
    ENTRY_POINT,
    ENTRY_POINT_IPV6,
    gateway_executable,
    gateway_process,
    write_routes,
)
from ketch.local.platform.process import ProcessSpec
from ketch.local.platform.supervisor import Endpoints, listen

PYTHON = (sys.executable, "-m", "ketch.local.program")
"""Runs the module that is named next."""


@dataclass(frozen=True)
class Addresses:
    """The listening sockets of one platform; they live as long as the supervisor.

    Without Kubeflow's APIs there is no ``gateway``: nothing would stand behind it.
    """

    gateway: Sequence[socket.socket]
    kubernetes: Sequence[socket.socket]
    platform: socket.socket

    @property
    def endpoints(self) -> Endpoints:
        """The addresses that users are told."""
        kubernetes = f"https://localhost:{self.kubernetes[0].getsockname()[1]}"
        return Endpoints(f"http://localhost:{self.gateway[0].getsockname()[1]}" if self.gateway else "", kubernetes)


def open_addresses(port: int, api_port: int, without: Parts = ()) -> Addresses:
    """Listen on all addresses. Raises StartError, with nothing left open, when one of them cannot be had."""
    gateway = () if Part.PIPELINES in without else listen(port, "--port")
    kubernetes: Sequence[socket.socket] = ()
    try:
        kubernetes = listen(api_port, "--api-port")
        platform, *rest = listen(0, "--port")
    except Exception:
        for item in (*gateway, *kubernetes):
            item.close()
        raise
    for item in rest:
        item.close()
    return Addresses(gateway, kubernetes, platform)


def _named(names: Sequence[str], sockets: Sequence[socket.socket]) -> Mapping[str, int]:
    return {name: item.fileno() for name, item in zip(names, sockets, strict=False)}


def _end_containers(directory: DataDirectory) -> None:
    from ketch.local.node.shutdown import end_all_containers  # noqa: PLC0415  # deferred: 40 ms of every start

    end_all_containers(directory.root)


def pods_left(directory: DataDirectory) -> bool:
    """Whether containers run, or the network they lived in is there, whoever of the platform lives or not.

    A start that failed has cleared away what was written of the platform before it, but not its pods.
    """
    from ketch.local.node.shutdown import containers_run  # noqa: PLC0415  # deferred: see above

    return (directory.run / HOLDER_RECORD).exists() or containers_run(directory.root)


def end_pods(directory: DataDirectory) -> None:
    """End all containers and the network they lived in, when no process of the platform does it."""
    _end_containers(directory)
    end_holder(directory.root)


def node_processes(
    directory: DataDirectory, kubeconfig: Path, *options: str, door: socket.socket | None = None
) -> Sequence[ProcessSpec]:
    """The programs of a node: its pods' network, what starts containers, and the agent, which answers at ``door``."""
    data = ("--data-dir", str(directory.root))
    return (
        ProcessSpec(
            "network",
            (*PYTHON, "ketch.local.network.daemon", *data),
            after_stop=lambda: end_holder(directory.root),
        ),
        ProcessSpec("keeper", (sys.executable, "-m", "ketch.local.sandbox.main", *data)),
        ProcessSpec(
            "node-agent",
            (*PYTHON, "ketch.local.node.main", *data, "--kubeconfig", str(kubeconfig), *options),
            sockets={} if door is None else {NODE_SOCKET: door.fileno()},
            after_stop=lambda: _end_containers(directory),
        ),
    )


def platform_processes(directory: DataDirectory, addresses: Addresses, without: Parts = ()) -> Sequence[ProcessSpec]:
    """The platform's programs in the order in which they start. Raises GatewayMissing."""
    # The address in an earlier run's may have changed: the agent waits for the new one.
    directory.node_kubeconfig.unlink(missing_ok=True)
    control_plane = ProcessSpec(
        "control-plane",
        (
            *PYTHON,
            "ketch.cli.controlplane",
            *("--data-dir", str(directory.root)),
            *arguments(without),
        ),
        sockets={**_named(KUBERNETES_SOCKETS, addresses.kubernetes), PLATFORM_SOCKET: addresses.platform.fileno()},
    )
    node = (
        () if Part.NODE in without else node_processes(directory, directory.node_kubeconfig, "--node-name", NODE_NAME)
    )
    return (control_plane, *node, *_gateway(directory, addresses))


def _gateway(directory: DataDirectory, addresses: Addresses) -> Sequence[ProcessSpec]:
    if not addresses.gateway:
        return ()
    routes = directory.run / "gateway"
    write_routes(routes, f"http://127.0.0.1:{addresses.platform.getsockname()[1]}")
    sockets = _named((ENTRY_POINT, ENTRY_POINT_IPV6), addresses.gateway)
    return (gateway_process(gateway_executable(), routes, sockets, addresses.gateway[0].getsockname()[1]),)
