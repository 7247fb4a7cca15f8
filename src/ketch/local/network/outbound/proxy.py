"""The HTTP proxy: CONNECT for everything with TLS, absolute addresses for plain HTTP.

What belongs to the cluster is asked of it too: ``no_proxy`` cannot name the Services of a pod's own namespace, and
many clients do not understand networks in it.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from ketch.local.network.outbound.destinations import Places, Refused, check_name, reachable_addresses
from ketch.local.network.outbound.upstream import Upstream, Upstreams
from ketch.local.network.relay import Streams, close_stream, join

_LARGEST_HEAD = 64 << 10
_HEAD_SECONDS, _CONNECT_SECONDS = 30.0, 15.0
_NOT_FORWARDED = (b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive")
_LOG = logging.getLogger(__name__)


class BadRequest(Exception):
    """What the client sent is no request to a proxy."""


class Target(NamedTuple):
    """What a request asks for. ``rewritten`` is its request line for the server itself; empty for CONNECT."""

    host: str
    port: int
    rewritten: bytes

    @property
    def tunnel(self) -> bool:
        """Whether a bare connection is wanted."""
        return not self.rewritten


def parse_target(line: bytes) -> Target:
    """Read a request line. Raises BadRequest."""
    try:
        method, target, version = line.decode("ascii").split(" ")
        if method == "CONNECT":
            parts = urlsplit(f"//{target}")
            if parts.hostname and parts.port:
                return Target(parts.hostname, parts.port, b"")
        parts = urlsplit(target)
        if parts.scheme == "http" and parts.hostname and method != "CONNECT":
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return Target(parts.hostname, parts.port or 80, f"{method} {path} {version}".encode())
    except ValueError as error:
        raise BadRequest(f"not a request to a proxy: {error}") from error
    raise BadRequest("not a request to a proxy: CONNECT host:port, or an address that begins with http://, is wanted")


def rewrite_head(line: bytes, head: bytes, authorization: str = "") -> bytes:
    """The request's head for the next server, which is to close the connection after its answer."""
    kept = [
        header for header in head.split(b"\r\n")[1:] if header.partition(b":")[0].strip().lower() not in _NOT_FORWARDED
    ]
    extra = [b"Connection: close"]
    if authorization:
        extra.append(f"Proxy-Authorization: {authorization}".encode())
    return b"\r\n".join((line, *extra, *(header for header in kept if header), b"", b""))


class Inside(Protocol):
    """The cluster, as the proxy sees it."""

    def find(self, host: str, asker: str) -> Sequence[str]:
        """The addresses of a host of the cluster, as the pod at ``asker`` names it; none for any other."""
        ...

    def permits(self, asker: str, address: str | None, port: int) -> bool:
        """Whether the pod at ``asker`` may reach ``address`` (None: a name outside the cluster)."""
        ...

    async def connect(self, ip: str, port: int, timeout: float) -> socket.socket:
        """A connection made inside the cluster. Raises OSError and TimeoutError."""
        ...


class Proxy:
    """Serves the proxy's clients; ``upstreams`` and the ``declared`` package indexes are what the host itself uses."""

    def __init__(self, inside: Inside, upstreams: Upstreams, declared: Places = frozenset()) -> None:
        self._inside = inside
        self._upstreams = upstreams
        self._declared = declared
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on a listening socket."""
        self._server = await asyncio.start_server(self._converse, sock=listener, limit=_LARGEST_HEAD)

    async def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            await close_stream(writer)
            return
        try:
            server = await self._reach(head.removesuffix(b"\r\n\r\n"), writer)
        except BadRequest as error:
            await _answer(writer, "400 Bad Request", str(error))
        except Refused as error:
            await _answer(writer, "403 Forbidden", str(error))
        except TimeoutError:
            await _answer(writer, "504 Gateway Timeout", "the server does not answer")
        except OSError as error:
            await _answer(writer, "502 Bad Gateway", f"cannot connect: {error.strerror or error}")
        else:
            await join((reader, writer), server)

    async def _reach(self, head: bytes, client: asyncio.StreamWriter) -> Streams:
        """The connection that the request asks for, with everything said on it that is not the client's to say."""
        line = head.partition(b"\r\n")[0]
        target = parse_target(line)
        asker: tuple[str, int] = client.get_extra_info("peername")
        own = self._inside.find(target.host, asker[0])
        self._check(asker[0], own or (_literal(target.host),), target.port)
        if own:
            server = await self._connect_inside(own, target.port)
            _begin_directly(target, head, client, server)
            return server
        upstream = self._upstreams.towards(target.host, secure=target.tunnel)
        if (target.host, target.port) in self._declared:
            upstream = None
        if upstream is None:
            server = await _connect_directly(target, self._declared)
            _begin_directly(target, head, client, server)
        else:
            server = await _connect_through(upstream, target)
            if target.tunnel:
                extra = f"Proxy-Authorization: {upstream.authorization}\r\n" if upstream.authorization else ""
                place = line.split(b" ")[1].decode()
                server[1].write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{extra}\r\n".encode())
            else:
                server[1].write(rewrite_head(line, head, upstream.authorization))
        return server

    def _check(self, asker: str, addresses: Sequence[str | None], port: int) -> None:
        """Raise Refused where a NetworkPolicy closes the way: this process would go it in the pod's stead."""
        if not all(self._inside.permits(asker, address, port) for address in addresses):
            raise Refused("a NetworkPolicy does not let this pod connect there")

    async def _connect_inside(self, addresses: Sequence[str], port: int) -> Streams:
        failure: OSError = OSError("it has no address")
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    sock=await self._inside.connect(address, port, timeout=_CONNECT_SECONDS)
                )
            except OSError as error:
                failure = error
        raise failure


def _begin_directly(target: Target, head: bytes, client: asyncio.StreamWriter, server: Streams) -> None:
    """Say what comes first on a connection to the server itself."""
    if target.tunnel:
        client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        server[1].write(rewrite_head(target.rewritten, head))


def _literal(host: str) -> str | None:
    """The host's address, if that is what it is called by."""
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        return None


async def _connect_directly(target: Target, declared: Places) -> Streams:
    failure: OSError = OSError("it has no address")
    for address in await reachable_addresses(target.host, target.port, declared):
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(address, target.port)
        except OSError as error:
            failure = error
    raise failure


async def _connect_through(upstream: Upstream, target: Target) -> Streams:
    """The host's own proxy may stand anywhere, but must not be the way back to this machine."""
    check_name(target.host)
    with contextlib.suppress(socket.gaierror):  # names that only the proxy can look up
        await reachable_addresses(target.host, target.port)
    async with asyncio.timeout(_CONNECT_SECONDS):
        tls = ssl.create_default_context() if upstream.tls else None
        return await asyncio.open_connection(upstream.host, upstream.port, ssl=tls)


async def _answer(writer: asyncio.StreamWriter, status: str, sentence: str) -> None:
    body = f"{sentence}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    with contextlib.suppress(OSError):
        await writer.drain()
    await close_stream(writer)
