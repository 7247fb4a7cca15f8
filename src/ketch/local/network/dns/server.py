"""The name server: its sockets, and whom it asks."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Mapping

from ketch.kube.clock import SYSTEM_CLOCK, Clock
from ketch.local.network.addresses import CLUSTER_DOMAIN
from ketch.local.network.dns.message import (
    HEADER,
    Answer,
    Code,
    MalformedQuery,
    Query,
    read_query,
    write_answer,
    write_error,
)
from ketch.local.network.dns.outside import HostResolver
from ketch.local.network.dns.zone import Zone

_MOST_OPEN_QUESTIONS = 256
_IDLE_SECONDS = 30.0
_LOG = logging.getLogger(__name__)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: "NameServer") -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self._server.receive(self._transport, data, addr)

    def error_received(self, exc: Exception) -> None:
        """Whoever asked has gone."""


class NameServer:
    """Answers from the zone, and from the host's resolver."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.zone = Zone({})
        self._outside = HostResolver(clock)
        self._open: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    def set_names(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Replace the table of names."""
        self.zone = Zone(names)

    async def start(self, datagrams: socket.socket, listener: socket.socket) -> None:
        """Serve on a bound UDP socket and a listening TCP socket."""
        loop = asyncio.get_running_loop()
        datagrams.setblocking(False)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
        self._server = await asyncio.start_server(self._converse, sock=listener)

    async def close(self) -> None:
        """Stop serving."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        self._outside.close()

    def receive(self, transport: asyncio.DatagramTransport, packet: bytes, sender: tuple[str | object, int]) -> None:
        """Answer one datagram, at once when the cluster knows, later when the host has to be asked."""
        known = self._read(packet)
        if isinstance(known, bytes):
            if known:
                transport.sendto(known, sender)
            return
        answer = self.zone.answer(self.zone.meant(known.name), known.kind)
        if answer is None and len(self._open) < _MOST_OPEN_QUESTIONS:
            task = asyncio.create_task(self._ask_outside(transport, known, sender))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            return
        refused = Answer(Code.SERVER_FAILURE, authoritative=False)
        transport.sendto(write_answer(known, answer or refused, domain=CLUSTER_DOMAIN), sender)

    async def _ask_outside(
        self, transport: asyncio.DatagramTransport, query: Query, sender: tuple[str | object, int]
    ) -> None:
        answer = await self._outside.answer(self.zone.meant(query.name), query.kind)
        transport.sendto(write_answer(query, answer, domain=CLUSTER_DOMAIN), sender)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2))
                    packet = await reader.readexactly(size)
                reply = self._read(packet)
                if isinstance(reply, Query):
                    name = self.zone.meant(reply.name)
                    answer = self.zone.answer(name, reply.kind) or await self._outside.answer(name, reply.kind)
                    reply = write_answer(reply, answer, domain=CLUSTER_DOMAIN, stream=True)
                if not reply:
                    return
                writer.write(len(reply).to_bytes(2) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _read(self, packet: bytes) -> Query | bytes:
        """The query, or the packet that answers what is none (empty: nothing does)."""
        try:
            return read_query(packet)
        except MalformedQuery as malformed:
            if malformed.code is None or len(packet) < HEADER.size:
                return b""
            return write_error(packet, malformed.code)
