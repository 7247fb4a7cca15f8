"""What the daemon serves: a network, isolated or the host's."""

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ketch.local.network.addresses import HOST_ADDRESS, POD_NETWORK, SERVICE_NETWORK
from ketch.local.network.wire import NetworkInfo, PolicyEntry, ServiceEntry


class Network(Protocol):
    """The operations behind the daemon's socket. Descriptors it returns stay its own, but for ``connect``'s socket."""

    @property
    def info(self) -> NetworkInfo:
        """How pods are connected."""
        ...

    @property
    def user_namespace(self) -> int | None:
        """The user namespace that owns the pods' namespaces, where there is one."""
        ...

    async def attach(self, pod: str, domain: str = "") -> tuple[str, int | None]:
        """The pod's address and namespace; its short names are completed by ``domain``. Raises OSError."""
        ...

    async def detach(self, pod: str, *, unchanged: bool = False) -> None:
        """Free them; ``unchanged``: nobody has set anything in the namespace."""
        ...

    def attachments(self) -> Mapping[str, str]:
        """The addresses of attached pods."""
        ...

    async def set_services(self, entries: Iterable[ServiceEntry]) -> None:
        """Set the table of Services. Raises OSError."""
        ...

    async def set_names(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Set the table of names."""
        ...

    async def set_policies(self, entries: Sequence[PolicyEntry]) -> None:
        """Set the table of what is closed between pods. Raises OSError."""
        ...

    async def connect(self, ip: str, port: int, timeout: float) -> socket.socket:
        """A connection made inside the network. Raises OSError."""
        ...

    async def close(self) -> None:
        """Stop serving; what pods use meanwhile stays."""
        ...


async def connect_socket(connection: socket.socket, ip: str, port: int, timeout: float) -> socket.socket:
    """Connect a new TCP socket, or close it. Raises OSError."""
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(connection, (ip, port))
    except BaseException:
        connection.close()
        raise
    return connection


class HostNetwork:
    """Pods share the host's network, because ``reason``."""

    user_namespace = None

    def __init__(self, reason: str) -> None:
        self.info = NetworkInfo("host", str(POD_NETWORK), str(SERVICE_NETWORK), "", None, reason)
        self._attached: set[str] = set()

    async def attach(self, pod: str, domain: str = "") -> tuple[str, int | None]:  # noqa: ARG002  # nobody asks here
        """The host's own address."""
        self._attached.add(pod)
        return HOST_ADDRESS, None

    async def detach(self, pod: str, *, unchanged: bool = False) -> None:  # noqa: ARG002  # there is none
        """Forget the pod."""
        self._attached.discard(pod)

    def attachments(self) -> Mapping[str, str]:
        """Every pod has the host's address."""
        return dict.fromkeys(self._attached, HOST_ADDRESS)

    async def set_services(self, entries: Iterable[ServiceEntry]) -> None:
        """Nothing can translate addresses here."""

    async def set_names(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Nobody asks for names here."""

    async def set_policies(self, entries: Sequence[PolicyEntry]) -> None:
        """Nothing is between pods that share a network."""

    async def connect(self, ip: str, port: int, timeout: float) -> socket.socket:
        """An ordinary connection."""
        return await connect_socket(socket.socket(socket.AF_INET, socket.SOCK_STREAM), ip, port, timeout)

    async def close(self) -> None:
        """Nothing to stop."""
