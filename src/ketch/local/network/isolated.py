"""The isolated network: each pod in its own namespace, joined by the cluster's."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from ketch.local.network.addresses import (
    API_ADDRESS,
    API_PORT,
    DNS_ADDRESS,
    DNS_PORT,
    GATEWAY,
    POD_NETWORK,
    PROXY_PORT,
    SERVICE_NETWORK,
)
from ketch.local.network.cluster import Cluster
from ketch.local.network.dns.server import NameServer
from ketch.local.network.netlink import NETLINK_NETFILTER, Netlink
from ketch.local.network.networks import connect_socket
from ketch.local.network.outbound.environment import declared_indexes, declared_services
from ketch.local.network.outbound.proxy import Proxy
from ketch.local.network.outbound.upstream import upstreams
from ketch.local.network.pods import Pods
from ketch.local.network.policies import KernelPolicies, permits
from ketch.local.network.relay import Streams, serve_relay
from ketch.local.network.services import KernelServices
from ketch.local.network.userspace import UserspaceServices
from ketch.local.network.wire import NetworkInfo, PolicyEntry, ServiceEntry

API_SOCKET_NAME, TABLES = "api.sock", "tables"
_BACKLOG = 512
_LOG = logging.getLogger(__name__)


class Tables(msgspec.Struct):
    """What the daemon was told last, kept for its successor."""

    services: tuple[ServiceEntry, ...] = ()
    names: Mapping[str, tuple[str, ...]] = {}
    policies: tuple[PolicyEntry, ...] = ()


def _tcp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _listening(address: str, port: int) -> socket.socket:
    listener = _tcp_socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((address, port))
    listener.listen(_BACKLOG)
    return listener


def _datagrams(address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((address, port))
    return bound


def _set_in_kernel(kernel: KernelServices, entries: Iterable[ServiceEntry]) -> None:
    """Set the table, a second time from the ground where a difference does not fit; else remove what there is."""
    try:
        try:
            kernel.set(entries)
        except OSError:
            kernel.set(entries)
    except OSError:
        kernel.remove()
        raise


class IsolatedNetwork:
    """Composes the pods' places, the Services' addresses, the names and the way outside."""

    def __init__(self, cluster: Cluster, run: Path, environment: Mapping[str, str]) -> None:
        self.info = NetworkInfo(
            "isolated", str(POD_NETWORK), str(SERVICE_NETWORK), DNS_ADDRESS, f"http://{GATEWAY}:{PROXY_PORT}"
        )
        self.user_namespace = cluster.user_namespace
        self._cluster = cluster
        self._run = run
        self._pods = Pods(cluster)
        self._domains: dict[str, str] = {}
        """By address, where a pod's short names are; an address that is given again says it anew."""

        self._names = NameServer()
        self._proxy = Proxy(
            self, upstreams(environment), declared_indexes(environment) | declared_services(environment)
        )
        self._api: asyncio.Server | None = None
        self._kernel: KernelServices | None = None
        self._policies: Netlink | None = None
        self._userspace = UserspaceServices(cluster.thread)
        self._tables = Tables()
        self._kept: int | None = None
        self._setting = asyncio.Lock()

    async def start(self) -> None:
        """Serve what pods need, with the tables that the daemon before this one had."""
        keep = self._cluster.keep_socket
        await self._resume()  # first: questions that came meanwhile are waiting in the sockets
        await self._names.start(
            keep("dns-udp", lambda: _datagrams(DNS_ADDRESS, DNS_PORT)),
            keep("dns-tcp", lambda: _listening(DNS_ADDRESS, DNS_PORT)),
        )
        await self._proxy.start(keep("proxy", lambda: _listening(GATEWAY, PROXY_PORT)))
        self._api = await serve_relay(keep("api", lambda: _listening(API_ADDRESS, API_PORT)), self._reach_api)
        self._pods.prepare()

    async def attach(self, pod: str, domain: str = "") -> tuple[str, int | None]:
        """The pod's address and namespace; its short names are completed by ``domain``."""
        place = await self._pods.attach(pod)
        self._domains[place.address] = domain
        return place.address, place.namespace

    async def detach(self, pod: str, *, unchanged: bool = False) -> None:
        """Free them."""
        await self._pods.detach(pod, unchanged=unchanged)

    def attachments(self) -> Mapping[str, str]:
        """The addresses of attached pods."""
        return self._pods.attachments()

    async def set_services(self, entries: Iterable[ServiceEntry]) -> None:
        """Set the table of Services."""
        kept = tuple(entry for entry in entries if entry.cluster_ip not in (API_ADDRESS, DNS_ADDRESS))
        async with self._setting:
            await self._program(kept)
            self._tables.services = kept
            self._save()

    async def set_names(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Set the table of names."""
        self._names.set_names(names)
        self._tables.names = names
        self._save()

    async def set_policies(self, entries: Sequence[PolicyEntry]) -> None:
        """Set the table of what is closed between pods. Raises OSError."""
        async with self._setting:
            await self._cluster.thread.run(lambda: KernelPolicies(self._policing()).set(entries))
            self._tables.policies = tuple(entries)
            self._save()

    def permits(self, asker: str, address: str | None, port: int) -> bool:
        """Whether the pod at ``asker`` may have a connection made to ``address`` (None: to a name outside)."""
        if not self._tables.policies:
            return True
        behind = [
            endpoint
            for entry in self._tables.services
            if (entry.cluster_ip, entry.port) == (address, port)
            for endpoint in entry.endpoints
        ]
        return all(permits(self._tables.policies, asker, *each) for each in behind or [(address, port)])

    async def connect(self, ip: str, port: int, timeout: float) -> socket.socket:
        """A connection made in the cluster's namespace."""
        return await connect_socket(await self._cluster.thread.run(_tcp_socket), ip, port, timeout)

    def find(self, host: str, asker: str) -> Sequence[str]:
        """The addresses of a host of the cluster, as the pod at ``asker`` names it; none for any other."""
        try:
            address = IPv4Address(host)
        except ValueError:
            return self._names.zone.find(host, asker, self._domains.get(asker, ""))
        return (host,) if address in POD_NETWORK or address in SERVICE_NETWORK else ()

    def namespaces(self) -> set[int]:
        """The kernel's numbers of all attached namespaces."""
        return self._pods.namespaces()

    async def close(self) -> None:
        """Stop serving."""
        await self._pods.close()
        await self._names.close()
        await self._proxy.close()
        self._userspace.close()
        if self._api is not None:
            self._api.close()
        self._cluster.thread.close()

    async def _program(self, entries: tuple[ServiceEntry, ...]) -> None:
        kernel = self._kernel
        if kernel is not None:
            try:
                await self._cluster.thread.run(lambda: _set_in_kernel(kernel, entries))
            except OSError as error:
                _LOG.warning("Services are relayed by this process, as the kernel does not do it: %s", error)
                self._kernel = None
            else:
                return
        await self._userspace.set(entries)

    async def _resume(self) -> None:
        """Take over the tables. Where they were lost, the kernel's stays as it is until the next is set."""
        told = False
        if self._cluster.held:
            kept = self._cluster.held.get(TABLES)
            if kept is not None and kept.descriptor is not None:
                self._kept = kept.descriptor
                text = os.pread(self._kept, os.fstat(self._kept).st_size, 0)
                self._tables = msgspec.json.decode(text, type=Tables)
                told = True
            self._names.set_names(self._tables.names)
        try:
            self._kernel = KernelServices(await self._cluster.thread.run(lambda: Netlink(NETLINK_NETFILTER)))
        except OSError as error:
            _LOG.warning("Services are relayed by this process, as the kernel does not do it: %s", error)
        if told or not self._cluster.held:
            await self._program(self._tables.services)

    def _policing(self) -> Netlink:
        if self._policies is None:
            self._policies = Netlink(NETLINK_NETFILTER)
        return self._policies

    def _save(self) -> None:
        """Leave the tables to a successor: in memory, with the holder, for they change with every pod."""
        descriptor = os.memfd_create(TABLES)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(msgspec.json.encode(self._tables))
        before, self._kept = self._kept, descriptor
        self._cluster.holder.put(TABLES, "", descriptor)
        if before is not None:
            os.close(before)

    async def _reach_api(self) -> Streams:
        return await asyncio.open_unix_connection(self._run / API_SOCKET_NAME)
