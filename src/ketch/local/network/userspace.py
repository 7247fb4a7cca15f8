"""Services' addresses without the kernel's help: a relay listens on each, where nftables cannot be had."""

import asyncio
import random
import socket
from collections.abc import Iterable, Mapping
from typing import cast

from ketch.local.network.namespaces import NamespaceThread
from ketch.local.network.relay import Streams, serve_relay
from ketch.local.network.services import Endpoints, Key, table_of
from ketch.local.network.wire import ServiceEntry

_BACKLOG = 256
_CONNECT_SECONDS = 10.0
_MOST_SENDERS = 512

_Sender = tuple[str, int]


def _bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        if kind == socket.SOCK_STREAM:
            bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


class _Back(asyncio.DatagramProtocol):
    """Brings an endpoint's answers back to one sender."""

    def __init__(self, front: asyncio.DatagramTransport, sender: _Sender) -> None:
        self._front, self._sender = front, sender

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:  # noqa: ARG002  # given by asyncio
        self._front.sendto(data, self._sender)


class _Relay:
    """One address and port of a Service; new connections go to the endpoints of the moment."""

    def __init__(self, key: Key, endpoints: Endpoints, thread: NamespaceThread) -> None:
        self.endpoints = endpoints
        self._key = key
        self._thread = thread
        self._server: asyncio.Server | None = None
        self._front: asyncio.DatagramTransport | None = None
        self._senders: dict[_Sender, asyncio.DatagramTransport] = {}

    async def start(self) -> None:
        """Listen. Raises OSError."""
        address, protocol, port = self._key
        if protocol == "TCP":
            listener = await self._thread.run(lambda: _bound(socket.SOCK_STREAM, address, port))
            self._server = await serve_relay(listener, self._reach)
        else:
            datagrams = await self._thread.run(lambda: _bound(socket.SOCK_DGRAM, address, port))
            loop = asyncio.get_running_loop()
            self._front, _ = await loop.create_datagram_endpoint(lambda: _Front(self), sock=datagrams)

    def redirect(self, endpoints: Endpoints) -> None:
        """Lead new connections, and all datagrams, to other endpoints."""
        if endpoints != self.endpoints:
            self.endpoints = endpoints
            self._forget_senders()

    def _forget_senders(self) -> None:
        for back in self._senders.values():
            back.close()
        self._senders.clear()

    def close(self) -> None:
        """Listen no more; open connections go on."""
        if self._server is not None:
            self._server.close()
        if self._front is not None:
            self._front.close()
        self._forget_senders()

    def _socket(self, kind: socket.SocketKind) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        return made

    def _choose(self) -> tuple[str, int]:
        return random.choice(self.endpoints)  # noqa: S311  # balance, not secrecy

    async def _reach(self) -> Streams:
        connection = await self._thread.run(lambda: self._socket(socket.SOCK_STREAM))
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(connection, self._choose())
        except BaseException:
            connection.close()
            raise
        return await asyncio.open_connection(sock=connection)

    async def forward(self, data: bytes, sender: _Sender) -> None:
        """Send a datagram on; all of one sender's go to the same endpoint."""
        if self._front is None:
            return
        transport = self._senders.get(sender)
        if transport is None or transport.is_closing():
            front = self._front
            back = await self._thread.run(lambda: self._socket(socket.SOCK_DGRAM))
            back.connect(self._choose())
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: _Back(front, sender), sock=back)
            while len(self._senders) >= _MOST_SENDERS:
                self._senders.pop(next(iter(self._senders))).close()
            self._senders[sender] = transport
        transport.sendto(data)


class _Front(asyncio.DatagramProtocol):
    """Takes datagrams to a Service's address."""

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self._tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        task = asyncio.create_task(self._relay.forward(data, cast("_Sender", addr)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class UserspaceServices:
    """The table of Services as relays in the cluster's namespace."""

    def __init__(self, thread: NamespaceThread) -> None:
        self._thread = thread
        self._relays: dict[Key, _Relay] = {}

    async def set(self, entries: Iterable[ServiceEntry]) -> None:
        """Make the table so. Open connections go on where they are. Raises OSError."""
        table: Mapping[Key, Endpoints] = table_of(entries)
        for key in self._relays.keys() - table.keys():
            self._relays.pop(key).close()
        for key, endpoints in table.items():
            if (relay := self._relays.get(key)) is not None:
                relay.redirect(endpoints)
                continue
            relay = _Relay(key, endpoints, self._thread)
            await relay.start()
            self._relays[key] = relay

    def close(self) -> None:
        """Listen no more."""
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()
