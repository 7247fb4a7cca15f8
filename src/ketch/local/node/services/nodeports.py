"""Node ports: each Service that has one can be reached there on this machine's loopback."""

import asyncio
import logging
import random
import socket
from collections.abc import Iterable, Mapping

from ketch.kube.clock import Clock
from ketch.kube.events import EventRecorder
from ketch.kube.manager import Manager
from ketch.kube.meta import KubeObject
from ketch.kube.types.core import Service
from ketch.kube.types.discovery import SERVICE_NAME_LABEL, EndpointSlice
from ketch.local.network.client import NetworkClient, NetworkError
from ketch.local.network.relay import Streams, serve_relay
from ketch.local.node.services.proxy import Slices, behind

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
"""Where they are opened: for people at this machine, and nobody else."""
OPENED = ("NodePort", "LoadBalancer")
RETRY_SECONDS = 5.0

Endpoints = tuple[tuple[str, int], ...]


def wanted(services: Iterable[Service], slices: Slices) -> Mapping[int, tuple[Service, Endpoints]]:
    """The ports to open, for whom, and what stands behind each now."""
    found: dict[int, tuple[Service, Endpoints]] = {}
    for service in services:
        if service.spec.type not in OPENED:
            continue
        own = slices.get((service.metadata.namespace, service.metadata.name), ())
        for port in service.spec.ports:
            if port.node_port and port.protocol in ("", "TCP"):
                found[port.node_port] = (service, behind(port, own))
    return found


class NodePorts:
    """Keeps listeners like the API's Services."""

    def __init__(self, manager: Manager, network: NetworkClient, clock: Clock, name: str) -> None:
        self._services = manager.informer(Service)
        self._slices = manager.informer(EndpointSlice)
        self._network = network
        self._clock = clock
        self._events = EventRecorder(manager.client, "kube-proxy", clock, name)
        self._changed = asyncio.Event()
        self._open: dict[int, asyncio.Server] = {}
        self._behind: dict[int, Endpoints] = {}
        for informer in (self._services, self._slices):
            informer.add_handler(self._on_change)

    def _on_change(self, old: KubeObject | None, new: KubeObject | None) -> None:  # noqa: ARG002  # a handler
        self._changed.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                if not await self._adjust():
                    await self._clock.sleep(RETRY_SECONDS)
                    self._changed.set()
        finally:
            for server in self._open.values():
                server.close()

    async def _adjust(self) -> bool:
        """Open and close what differs; whether every port could be opened."""
        slices: dict[tuple[str, str], list[EndpointSlice]] = {}
        for each in self._slices.list():
            slices.setdefault((each.metadata.namespace, each.metadata.labels.get(SERVICE_NAME_LABEL, "")), []).append(
                each
            )
        ports = wanted(self._services.list(), slices)
        self._behind = {port: endpoints for port, (_, endpoints) in ports.items()}
        for port in [port for port in self._open if port not in ports]:
            self._open.pop(port).close()
        complete = True
        for port, (service, _) in ports.items():
            if port not in self._open:
                complete &= await self._begin(port, service)
        return complete

    async def _begin(self, port: int, service: Service) -> bool:
        try:
            listener = socket.create_server((ADDRESS, port))
        except OSError as error:
            text = f"port {port} of this machine cannot be opened: {error}"
            await self._events.record(service, "Warning", "NodePortUnavailable", text)
            return False

        async def reach() -> Streams:
            return await self._reach(port)

        self._open[port] = await serve_relay(listener, reach)
        return True

    async def _reach(self, port: int) -> Streams:
        """A connection to one of those behind the port. Raises OSError."""
        endpoints = self._behind.get(port, ())
        if not endpoints:
            raise ConnectionRefusedError(f"nothing ready stands behind port {port}")
        address, number = random.choice(endpoints)  # noqa: S311  # any of them will do
        try:
            return await asyncio.open_connection(sock=await self._network.connect(address, number))
        except NetworkError as error:
            raise ConnectionAbortedError(str(error)) from error
