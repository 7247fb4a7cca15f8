"""One client's connection: bytes in, requests one after another, bytes out."""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import httptools

from ketch.kube.errors import APIError, BadRequest
from ketch.local.apiserver.http.authentication import certificate_user
from ketch.local.apiserver.http.encoding import head, status
from ketch.local.apiserver.verbs.writing import LARGEST_OBJECT, too_large

if TYPE_CHECKING:
    from ketch.local.apiserver.auth.identity import UserInfo

LARGEST_HEAD = 64 * 1024
MOST_QUEUED = 4
KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""Seconds until the kernel first asks whether the other side is there, between questions, and how many it asks."""

REPEATED = ("impersonate-group", "impersonate-extra-")
"""Headers that may come several times; their values are kept apart by line ends."""


@dataclass(slots=True)
class HTTPRequest:
    """One request as it came; header names are lower case. ``upgrade``: what follows it is another protocol."""

    method: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    keep_alive: bool = True
    upgrade: bool = False
    refused: APIError | None = None


class Onward(Protocol):
    """Where a client's bytes go that speaks another protocol than HTTP."""

    def take(self, data: bytes) -> None:
        """Pass bytes on."""
        ...

    def pause(self) -> None:
        """The client reads slower than it is sent to."""
        ...

    def resume(self) -> None:
        """The client caught up."""
        ...


Serve = Callable[[HTTPRequest, "Connection"], Awaitable[None]]


class Connection(asyncio.Protocol):
    """Parses, queues what is pipelined, and serves one request at a time in a task of its own.

    A connection that ends cancels the request under way; a write already staged still happens.
    """

    def __init__(self, serve: Serve, open_connections: "set[Connection]") -> None:
        self._serve = serve
        self._all = open_connections
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._request = HTTPRequest()
        self._size = 0
        self._chunks: list[bytes] = []
        self._queue: deque[HTTPRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._onward: Onward | None = None
        self._rest = bytearray()
        self.peer: UserInfo | None = None
        self.closing = False

    # asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn who the peer is."""
        self._transport = cast("asyncio.Transport", transport)
        self._all.add(self)
        secured = transport.get_extra_info("ssl_object")
        self.peer = certificate_user(secured.getpeercert()) if secured is not None else None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature  # asyncio's signature
        """Stop what is under way for the client."""
        self._all.discard(self)
        self.closing = True
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse; what is no HTTP ends the connection."""
        if self.closing:
            return
        if self._onward is not None:
            self._onward.take(data)
            return
        if self._request.upgrade:
            self._rest += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leave_http(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(BadRequest(f"malformed HTTP request: {error}"))

    def _leave_http(self, rest: bytes) -> None:
        """What follows the request is in another protocol: it waits for whoever serves the request."""
        self._request.upgrade = True
        self._rest += rest
        self.pause_reading()

    def join(self, onward: Onward) -> None:
        """From now on all that the client sends goes to ``onward``."""
        self._onward = onward
        onward.take(bytes(self._rest))
        self._rest.clear()
        self.resume_reading()

    def keep_watch(self) -> None:
        """Have the kernel find out when the client's machine is gone: nobody may be talking for hours."""
        found = self._transport.get_extra_info("socket") if self._transport is not None else None
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEP_ALIVE:
                found.setsockopt(socket.IPPROTO_TCP, option, value)

    def pause_reading(self) -> None:
        """Take nothing more from the client for a while."""
        if self._transport is not None and not self.closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what the client sends."""
        if self._transport is not None and not self.closing:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        if self._writable is None:
            self._writable = self._loop.create_future()
        if self._onward is not None:
            self._onward.pause()

    def resume_writing(self) -> None:
        """The client caught up."""
        if self._onward is not None:
            self._onward.resume()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # httptools --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A new request."""
        self._request = HTTPRequest()
        self._size = 0
        self._chunks = []

    def on_url(self, url: bytes) -> None:
        """The request target, maybe in parts."""
        self._grow(len(url))
        self._request.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._grow(len(name) + len(value))
        headers, key, text = self._request.headers, name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}\n{text}" if key in headers and key.startswith(REPEATED) else text

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > LARGEST_HEAD:
            raise BadRequest(f"the request's head is larger than {LARGEST_HEAD} bytes")

    def on_headers_complete(self) -> None:
        """The body follows."""
        request = self._request
        request.method = self._parser.get_method().decode("latin-1")
        request.keep_alive = self._parser.should_keep_alive()
        self._size = 0
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > LARGEST_OBJECT:
            request.refused = too_large(int(length))
        elif request.headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body; parts over the limit are dropped as they come."""
        self._size += len(body)
        if self._size > LARGEST_OBJECT:
            self._request.refused = too_large(self._size)
            self._chunks = []
        elif self._request.refused is None:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        request = self._request
        request.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._queue.append(request)
        if self._task is None:
            self._task = self._loop.create_task(self._work())
        elif len(self._queue) > MOST_QUEUED and self._transport is not None:
            self._transport.pause_reading()

    # serving ----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Serve what is queued, in order."""
        try:
            while self._queue and not self.closing:
                request = self._queue.popleft()
                if len(self._queue) == MOST_QUEUED and self._transport is not None:
                    self._transport.resume_reading()
                await self._serve(request, self)
                if not request.keep_alive:
                    self.close()
        finally:
            self._task = None

    def _refuse(self, error: APIError) -> None:
        body = status(error)
        self.write(head(error.http_code, "application/json", len(body), [("connection", "close")]) + body)
        self.close()

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens once the connection ends."""
        if self._transport is not None and not self.closing:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client reads again."""
        if self._writable is not None:
            await self._writable

    def close(self) -> None:
        """End the connection once what was written is sent."""
        if not self.closing and self._transport is not None:
            self.closing = True
            self._transport.close()

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The request under way."""
        return self._task

    def abort(self) -> None:
        """End the connection now."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()
