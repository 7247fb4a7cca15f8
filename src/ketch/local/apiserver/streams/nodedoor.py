"""The way to a node: its own little API, on the socket that its Node object tells, or over TLS on its port.

A node on another machine is known by the certificate that it tells in its Node object, which only its own agent may
write; one that tells none must have one that this cluster's authority signed. It knows this server by a client
certificate.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ketch.kube.errors import Unavailable, error_from_status
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store

SOCKET_ANNOTATION = "node.ketch.dev/socket"
CERTIFICATE_ANNOTATION = "node.ketch.dev/serving-certificate"
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")
"""Which of its addresses a node is reached at: the first that it has."""

CONNECT_SECONDS = 10.0
MOST_CONTEXTS = 64


@dataclass(frozen=True, slots=True)
class Way:
    """Where a node answers: a unix socket of this machine, or a port, with TLS."""

    socket: str = ""
    host: str = ""
    port: int = 0
    context: ssl.SSLContext | None = None

    async def connect(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        """A connection that ``protocol`` answers for. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self.socket:
            connection, _ = await loop.create_unix_connection(protocol, self.socket)
            return connection
        async with asyncio.timeout(CONNECT_SECONDS):
            connection, _ = await loop.create_connection(protocol, self.host, self.port, ssl=self.context)
        return connection


class NodeDoors:
    """Finds the ways. ``secured`` gives the TLS by which a node with that certificate is known.

    A node tells its socket itself: one outside of ``sockets`` is none, for a node elsewhere has no business with the
    sockets of this machine.
    """

    def __init__(self, store: Store, secured: Callable[[str], ssl.SSLContext], sockets: Path | None = None) -> None:
        self._sockets = sockets
        self._store = store
        self._secured = secured
        self._contexts: dict[str, ssl.SSLContext] = {}

    def told(self, name: str) -> Way | None:
        """Where the node of that name says that it answers; None where it does not."""
        record = self._store.get(StoreKey("/nodes", "", name))
        if record is None:
            return None
        annotations: Mapping[str, str] = record.value["metadata"].get("annotations") or NOTHING
        status: Mapping[str, Any] = record.value.get("status") or NOTHING
        port = ((status.get("daemonEndpoints") or NOTHING).get("kubeletEndpoint") or NOTHING).get("Port")
        if not port:
            socket = annotations.get(SOCKET_ANNOTATION, "")
            ours = self._sockets is None or Path(socket).parent == self._sockets
            return Way(socket) if socket and ours else None
        addresses = {each["type"]: each["address"] for each in reversed(status.get("addresses") or NO_ITEMS)}
        host = next((addresses[kind] for kind in ADDRESS_TYPES if kind in addresses), "")
        if not host:
            return None
        return Way(host=host, port=port, context=self._context(annotations.get(CERTIFICATE_ANNOTATION, "")))

    def find(self, name: str) -> Way:
        """Where the node of that name answers. Raises Unavailable."""
        way = self.told(name)
        if way is None:
            raise Unavailable(f"node {name} cannot be reached: it is not there or tells no address")
        return way

    def _context(self, certificate: str) -> ssl.SSLContext:
        found = self._contexts.get(certificate)
        if found is None:
            if len(self._contexts) >= MOST_CONTEXTS:
                self._contexts.clear()
            try:
                found = self._contexts[certificate] = self._secured(certificate)
            except ssl.SSLError as error:
                raise Unavailable(f"annotation {CERTIFICATE_ANNOTATION} holds no certificate: {error}") from error
        return found


@contextlib.asynccontextmanager
async def node_stream(way: Way, path: str, query: Mapping[str, str]) -> AsyncGenerator[AsyncIterator[bytes]]:
    """What the node answers to a GET, as it comes. Raises APIError."""
    import httpx  # noqa: PLC0415  # deferred: 60 ms of every start, needed by the first log

    # Without TLS there is nothing to verify, and to be ready for it takes 25 ms.
    transport = httpx.AsyncHTTPTransport(uds=way.socket or None, verify=way.context or False)
    host = f"[{way.host}]" if ":" in way.host else way.host
    url = "http://node" if way.socket else f"https://{host}:{way.port}"
    timeout = httpx.Timeout(CONNECT_SECONDS, read=None)
    async with httpx.AsyncClient(transport=transport, base_url=url, timeout=timeout) as client:
        try:
            async with client.stream("GET", path, params=dict(query)) as response:
                if response.status_code != 200:
                    body = await response.aread()
                    with contextlib.suppress(orjson.JSONDecodeError):
                        raise error_from_status(orjson.loads(body), response.status_code)
                    raise error_from_status(body.decode(errors="replace"), response.status_code)
                yield response.aiter_raw()
        except httpx.TransportError as error:
            raise Unavailable(f"the node does not answer: {error}") from error


async def node_json(way: Way, path: str) -> Any:
    """The same, as a JSON value. Raises APIError."""
    async with node_stream(way, path, {}) as chunks:
        return orjson.loads(b"".join([chunk async for chunk in chunks]))
