"""Serving HTTP: each request guarded, authenticated, understood, handled, answered."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

import orjson

from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, BadRequest, InternalError
from ketch.local.apiserver.answers import (
    Answer,
    ConnectAnswer,
    ListAnswer,
    ObjectAnswer,
    RelayAnswer,
    StreamAnswer,
    TextAnswer,
    WatchAnswer,
)
from ketch.local.apiserver.http import bodies, encoding, guard
from ketch.local.apiserver.http.accept import DISCOVERY, JSON, Form, negotiate, not_acceptable
from ketch.local.apiserver.http.authentication import Authenticator
from ketch.local.apiserver.http.connection import Connection, HTTPRequest
from ketch.local.apiserver.http.tunnel import SWITCHING_PROTOCOLS, Tunnel
from ketch.local.apiserver.metrics import Metrics
from ketch.local.apiserver.requests import Call
from ketch.local.apiserver.router import Router

if TYPE_CHECKING:
    from ketch.kube.doors import Door
    from ketch.local.apiserver.verbs.watching import EventStream

LOG = logging.getLogger(__name__)
BACKLOG = 1024
GRACE_SECONDS = 3.0
"""How long requests under way may take to finish when the server stops."""
CLOSE_SECONDS = 0.5
"""How long clients may take to answer the end of their TLS connection."""


@lru_cache(maxsize=1024)
def _split(target: str) -> tuple[str, dict[str, str]]:
    """Path and query of a request target."""
    path, _, query = target.partition("?")
    return unquote(path), dict(parse_qsl(query, keep_blank_values=True)) if query else {}


class Front:
    """Listeners and their connections."""

    def __init__(self, router: Router, authenticator: Authenticator, metrics: Metrics, clock: Clock) -> None:
        self._router = router
        self._authenticator = authenticator
        self._clock = clock
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._streams: set[EventStream] = set()
        self._tunnels: set[Tunnel] = set()
        self._requests = metrics.requests
        self.doors: list[Door] = []

    async def listen(self, sockets: Sequence[socket.socket], unix_socket: Path | None, context: ssl.SSLContext) -> None:
        """Begin to serve on listening sockets, and on a unix socket that is made here."""
        loop = asyncio.get_running_loop()
        for each in sockets:
            each.setblocking(False)
            server = await loop.create_server(self._connect, sock=each, ssl=context, backlog=BACKLOG)
            self._servers.append(server)
        if unix_socket is not None:
            unix_socket.unlink(missing_ok=True)  # noqa: ASYNC240  # once, at the start
            server = await loop.create_unix_server(self._connect, str(unix_socket), ssl=context, backlog=BACKLOG)
            unix_socket.chmod(0o600)  # noqa: ASYNC240  # once, at the start
            self._servers.append(server)

    def _connect(self) -> Connection:
        return Connection(self._serve, self._connections)

    async def close(self) -> None:
        """Stop to listen, end watches, let requests under way finish, drop the connections."""
        for server in self._servers:
            server.close()
        for stream in tuple(self._streams):
            stream.stop()
        for tunnel in self._tunnels:
            tunnel.close()
        tasks = {connection.task for connection in self._connections if connection.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        for connection in tuple(self._connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._gone()
        for connection in tuple(self._connections):
            connection.abort()

    # one request ------------------------------------------------------------------------------------------------

    async def _serve(self, request: HTTPRequest, connection: Connection) -> None:
        try:
            request.keep_alive = request.keep_alive and request.refused is None and not request.upgrade
            if request.refused is not None:
                raise request.refused
            guard.check(request.headers)
            if await self._through_a_door(request, connection):
                return
            form = negotiate(request.headers.get("accept", ""))
            call = self._call(request, connection, form)
            answer = await self._router.handle(call)
            await self._answer(answer, form, call, request, connection)
        except APIError as error:
            self._fail(error, request, connection)
        except RecursionError:
            self._fail(BadRequest("the body of the request is nested too deeply"), request, connection)
        except Exception:  # the last line of defence: one request fails, not the server
            LOG.exception("%s %s failed", request.method, request.target)
            why = "an internal error has occurred: see the control plane's log"
            self._fail(InternalError(why), request, connection)

    async def _through_a_door(self, request: HTTPRequest, connection: Connection) -> bool:
        """Whether the request was a domain's own to answer."""
        for door in self.doors:
            path, _ = _split(request.target)
            if door.opens(request.method, path):
                answer = await door.answer(path, request.headers, request.body)
                self._send(200, JSON, orjson.dumps(answer), request, connection)
                return True
        return False

    def _call(self, request: HTTPRequest, connection: Connection, form: Form | None) -> Call:
        headers = request.headers
        user = self._authenticator.user(headers, connection.peer)
        path, query = _split(request.target)
        media_type = bodies.content_type(headers.get("content-type", ""))
        body = request.body if self._router.passes_on(path) else bodies.decode(request.body, media_type)
        return Call(
            user,
            request.method,
            path,
            query,
            body,
            media_type,
            form.shape if form else headers.get("accept", ""),
            headers.get("user-agent", ""),
            network=True,
        )

    def _fail(self, error: APIError, request: HTTPRequest, connection: Connection) -> None:
        extra = [("www-authenticate", "Bearer")] if error.http_code == 401 else []
        if error.details.retry_after_seconds:
            extra.append(("retry-after", str(error.details.retry_after_seconds)))
        self._send(error.http_code, JSON, encoding.status(error), request, connection, extra)

    def _send(  # what a response is made of
        self,
        code: int,
        content_type: str,
        body: bytes,
        request: HTTPRequest,
        connection: Connection,
        extra: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._requests[request.method, code] += 1
        if not request.keep_alive:
            extra = [*extra, ("connection", "close")]
        start = encoding.head(code, content_type, len(body), extra)
        connection.write(start if request.method == "HEAD" else start + body)

    async def _answer(
        self, answer: Answer, form: Form | None, call: Call, request: HTTPRequest, connection: Connection
    ) -> None:
        match answer:
            case StreamAnswer():
                async with answer.chunks as chunks:
                    await self._stream(answer.content_type, chunks, request, connection)
                return
            case TextAnswer():
                text = answer.text.encode() if isinstance(answer.text, str) else answer.text
                self._send(answer.code, answer.content_type, text, request, connection, list(answer.headers.items()))
                return
            case RelayAnswer():
                await self._relayed(answer, request, connection)
                return
            case ConnectAnswer():
                await self._connected(await Tunnel.open(answer, request, connection), request)
                return
            case _:
                pass
        if form is None:
            raise not_acceptable()
        include, now = call.query.get("includeObject", "Metadata"), self._clock.now()
        match answer:
            case WatchAnswer():
                await self._watch(answer, form, call, request, connection)
            case ListAnswer():
                body = encoding.list_bytes(answer, form, include, now)
                self._send(200, form.media_type, body, request, connection)
            case ObjectAnswer():
                body = encoding.object_bytes(answer, form, include, now)
                aggregated = form.shape == DISCOVERY and answer.value is not None and answer.value["kind"] == DISCOVERY
                content_type = encoding.AGGREGATED if aggregated else form.media_type
                warnings = encoding.warning_headers(answer.warnings) if answer.warnings else ()
                self._send(answer.code, content_type, body, request, connection, warnings)

    async def _relayed(self, answer: RelayAnswer, request: HTTPRequest, connection: Connection) -> None:
        from ketch.local.apiserver.http import relay  # noqa: PLC0415  # deferred: for the first proxied request

        if request.upgrade:
            await self._connected(await relay.join(answer, request, connection), request)
            return
        code = await relay.relay(answer, request, connection)
        self._requests[request.method, code] += 1

    async def _connected(self, tunnel: Tunnel, request: HTTPRequest) -> None:
        self._requests[request.method, SWITCHING_PROTOCOLS] += 1
        self._tunnels.add(tunnel)
        try:
            await tunnel.carry()
        finally:
            self._tunnels.discard(tunnel)

    # streams ----------------------------------------------------------------------------------------------------

    async def _stream(
        self, content_type: str, chunks: AsyncIterator[bytes], request: HTTPRequest, connection: Connection
    ) -> None:
        self._requests[request.method, 200] += 1
        connection.write(encoding.head(200, content_type, None))
        try:
            async for data in chunks:
                if data:
                    connection.write(encoding.chunk(data))
                    await connection.drained()
        except Exception as error:  # noqa: BLE001  # whatever the source raises: the answer has begun and cannot be another
            LOG.info("%s %s broke off: %s", request.method, request.target, error)
            connection.abort()
            return
        connection.write(encoding.LAST_CHUNK)

    async def _watch(
        self, answer: WatchAnswer, form: Form, call: Call, request: HTTPRequest, connection: Connection
    ) -> None:
        include, resource = call.query.get("includeObject", "Metadata"), answer.resource
        self._requests["WATCH", 200] += 1
        connection.write(encoding.head(200, form.media_type, None))
        try:
            async with answer.events as stream:
                self._streams.add(stream)
                try:
                    async for batch in stream:
                        now = self._clock.now()
                        frames = [encoding.frame(event, resource, form, include, now) for event in batch]
                        connection.write(encoding.chunk(b"".join(frames)))
                        await connection.drained()
                finally:
                    self._streams.discard(stream)
        except APIError as error:
            # The answer has begun: from here on failures are events.
            connection.write(encoding.chunk(encoding.error_frame(error)))
        connection.write(encoding.LAST_CHUNK)
        if self._router.closed:
            request.keep_alive = False

    async def _gone(self) -> None:
        """Wait until the clients have seen the end of their connections."""
        while self._connections:
            await self._clock.sleep(0.01)
