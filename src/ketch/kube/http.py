"""The HTTP transport: any API server over TCP or a unix socket, TLS, kept-alive connections, streamed watches."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import aiohttp
import orjson
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ketch.kube.clock import SYSTEM_CLOCK, Clock
from ketch.kube.config import ClusterConfig
from ketch.kube.credentials import Identity, client_context, credentials
from ketch.kube.errors import TransportError, error_from_status
from ketch.kube.transport import JSON_TYPE, Request

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 65.0
"""A little more than the 60 s after which API servers give up themselves."""

WATCH_SLACK_SECONDS = 30.0
CONNECTIONS = 0  # unlimited: watches each hold one
AT_ONCE = 16
"""Requests under way: more of them would be no sooner done, and each would open a connection with a TLS handshake."""

IDLE_SECONDS = 90.0
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
_KEEP_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 3}
_BUFFER = 1 << 20


class _UnixConnector(aiohttp.UnixConnector):
    """aiohttp's connector for unix sockets, with TLS inside when the request asks for it."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],  # noqa: ARG002  # aiohttp's signature
        timeout: aiohttp.ClientTimeout,
    ) -> ResponseHandler:
        context = req.ssl if isinstance(req.ssl, ssl.SSLContext) else None
        try:
            async with asyncio.timeout(timeout.sock_connect):
                _, protocol = await asyncio.get_running_loop().create_unix_connection(
                    cast("Callable[[], ResponseHandler]", self._factory),
                    self.path,
                    ssl=context,
                    server_hostname=(req.server_hostname or req.url.raw_host) if context else None,
                )
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection at {self.path}") from error
        except ssl.CertificateError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except OSError as error:
            raise UnixClientConnectorError(self.path, req.connection_key, error) from error
        return protocol


def _open_socket(address: Any) -> socket.socket:
    """A TCP socket on which a peer that has vanished is noticed within a minute, also under an idle watch."""
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if option := getattr(socket, name, None):
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
    return opened


class HTTPTransport:
    """A ``ketch.kube.transport.Transport`` over HTTP. Connections are opened when first needed."""

    def __init__(self, config: ClusterConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        self._config = config
        self._server = URL(config.server)
        self._prefix = self._server.path.rstrip("/")
        self._credentials = credentials(config, clock)
        self._session: aiohttp.ClientSession | None = None
        self._context: tuple[Identity, ssl.SSLContext] | None = None
        self._closed = False
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def request(self, request: Request) -> Any:
        """Send ``request``; the decoded answer."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        async with self._turns, self._send(request, timeout) as response:
            with self._torn():
                content = await response.read()
            return _decoded(content, response)

    @asynccontextmanager
    async def watch(self, request: Request) -> AsyncGenerator[AsyncIterator[dict[str, Any]]]:
        """Open a watch; iterate raw events."""
        query = {**request.query, "watch": "true"}
        seconds = int(query.get("timeoutSeconds") or 0)
        total = seconds + WATCH_SLACK_SECONDS if seconds else None
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS)
        wanted = Request(request.method, request.path, query)
        async with self._send(wanted, timeout) as response:
            yield self._events(response)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a byte stream; iterate its chunks as they come."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with self._send(request, timeout) as response:
            yield self._chunks(response)

    async def close(self) -> None:
        """Release connections and end open watches."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # one call -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _send(self, request: Request, timeout: aiohttp.ClientTimeout) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A successful answer whose body is yet to come. Raises APIError, TransportError."""
        with self._torn():
            response = await self._attempt(request, timeout)
            if response.status == 401 and self._credentials.refused():
                response.release()
                response = await self._attempt(request, timeout)
        try:
            if response.status >= 400:
                with self._torn():
                    content = await response.read()
                raise error_from_status(_decoded(content, response), response.status)
            yield response
        finally:
            # A body read to its end frees the connection for the next call; of anything else the rest must not come.
            if response.content.is_eof():
                response.release()
            else:
                response.close()

    async def _attempt(self, request: Request, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        identity = await self._credentials.identity()
        headers = {"Accept": JSON_TYPE}
        if identity.authorization:
            headers["Authorization"] = identity.authorization
        body = None
        if request.body is not None:
            body = orjson.dumps(request.body)
            headers["Content-Type"] = request.content_type
        return await self._connected().request(
            request.method,
            self._server.with_path(self._prefix + request.path).with_query(dict(request.query)),
            data=body,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            ssl=self._tls(identity) if self._server.scheme == "https" else False,
            server_hostname=self._config.server_name or None,
            proxy=self._config.proxy_url or None,
        )

    def _connected(self) -> aiohttp.ClientSession:
        if self._closed:
            raise TransportError("the connection to the API server is closed")
        if self._session is None:
            connector = (
                _UnixConnector(str(self._config.unix_socket), limit=CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
                if self._config.unix_socket
                else aiohttp.TCPConnector(
                    limit=CONNECTIONS, keepalive_timeout=IDLE_SECONDS, socket_factory=_open_socket
                )
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=_BUFFER
            )
        return self._session

    def _tls(self, identity: Identity) -> ssl.SSLContext:
        """The context for this identity; the same one while the identity's certificate stays the same."""
        mine = Identity("", identity.certificate, identity.key)
        if self._context is None or self._context[0] != mine:
            self._context = (mine, client_context(self._config, mine))
        return self._context[1]

    @contextmanager
    def _torn(self) -> Generator[None]:
        try:
            yield
        except _FAILURES as error:
            raise TransportError(f"{self._config.server}: {error or type(error).__name__}") from error

    # bodies ---------------------------------------------------------------------------------------------------

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.content.iter_any():
                yield chunk
        except (*_FAILURES, RuntimeError) as error:  # RuntimeError: aiohttp's word for a connection already closed
            if not self._closed:
                raise TransportError(f"{self._config.server}: {error or type(error).__name__}") from error

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
        rest: list[bytes] = []
        async for chunk in self._chunks(response):
            *lines, last = chunk.split(b"\n")
            if lines and rest:
                lines[0] = b"".join((*rest, lines[0]))
                rest = []
            for line in lines:
                if line:
                    yield _event(line)
            if last:
                rest.append(last)


def _event(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise TransportError(f"the watch brought no JSON: {line[:200]!r}") from error
    if event["type"] == "ERROR":
        raise error_from_status(event["object"], 500)
    return event


def _decoded(content: bytes, response: aiohttp.ClientResponse) -> Any:
    if response.content_type == JSON_TYPE:
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise TransportError(f"{response.url}: the answer is no JSON: {content[:200]!r}") from error
    return content.decode(errors="replace")
