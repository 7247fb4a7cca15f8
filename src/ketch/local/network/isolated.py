"""The isolated network: each pod in its own namespace, joined by the cluster's."""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from ketch.local.network.addresses import DNS_ADDRESS, GATEWAY, POD_NETWORK, PROXY_PORT, SERVICE_NETWORK
from ketch.local.network.cluster import Cluster
from ketch.local.network.netlink import NETLINK_NETFILTER, Netlink
from ketch.local.network.networks import connect_socket
from ketch.local.network.pods import Pods
from ketch.local.network.services import KernelServices
from ketch.local.network.wire import NetworkInfo, ServiceEntry


def _tcp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


class IsolatedNetwork:
    """Composes the pods' places, the Services' addresses, the names and the way outside."""

    def __init__(self, cluster: Cluster, run: Path) -> None:
        self.info = NetworkInfo(
            "isolated", str(POD_NETWORK), str(SERVICE_NETWORK), DNS_ADDRESS, f"http://{GATEWAY}:{PROXY_PORT}"
        )
        self.user_namespace = cluster.user_namespace
        self._cluster = cluster
        self._pods = Pods(cluster)
        self._services = KernelServices(cluster.thread.call(lambda: Netlink(NETLINK_NETFILTER)))

    async def start(self) -> None:
        """Serve what pods need."""
        self._pods.prepare()

    async def attach(self, pod: str) -> tuple[str, int | None]:
        """The pod's address and namespace."""
        place = await self._pods.attach(pod)
        return place.address, place.namespace

    async def detach(self, pod: str) -> None:
        """Free them."""
        await self._pods.detach(pod)

    def attachments(self) -> Mapping[str, str]:
        """The addresses of attached pods."""
        return self._pods.attachments()

    async def set_services(self, entries: Iterable[ServiceEntry]) -> None:
        """Set the table of Services."""
        await self._cluster.thread.run(lambda: self._services.set(entries))

    async def set_names(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Set the table of names."""

    async def connect(self, ip: str, port: int, timeout: float) -> socket.socket:
        """A connection made in the cluster's namespace."""
        return await connect_socket(await self._cluster.thread.run(_tcp_socket), ip, port, timeout)

    def namespaces(self) -> set[int]:
        """The kernel's numbers of all attached namespaces."""
        return self._pods.namespaces()

    async def close(self) -> None:
        """Stop serving."""
        await self._pods.close()
        self._cluster.thread.close()
