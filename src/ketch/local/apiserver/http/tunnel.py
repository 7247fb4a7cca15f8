"""A client's WebSocket joined to a node's socket: bytes both ways, as fast as the slower side takes them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, cast

import httptools
import orjson

from ketch.kube.errors import APIError, BadRequest, Unavailable, error_from_status
from ketch.local.apiserver.answers import ConnectAnswer
from ketch.local.apiserver.http.connection import Connection, HTTPRequest
from ketch.local.apiserver.http.frames import Frames

if TYPE_CHECKING:
    from typing import Any

LINGER = 30.0
"""Seconds in which a node may read what a client that is gone has sent."""

HANDSHAKE_HEADERS = (
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
)
SWITCHING_PROTOCOLS = 101
Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[asyncio.Transport]]
END_OF_HEAD = b"\r\n\r\n"


class Tunnel(asyncio.Protocol):
    """The node's end of a live connection; ``Connection`` is the client's."""

    def __init__(self, client: Connection, what: str) -> None:
        self._client = client
        self._what = what
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._frames = Frames()
        self._joined = False
        self._head = b""
        self._body = b""
        self._parser: Any = httptools.HttpResponseParser(self)

    @classmethod
    async def open(cls, answer: ConnectAnswer, request: HTTPRequest, client: Connection) -> "Tunnel":
        """Have the node accept the client's handshake. Raises APIError."""
        if not request.upgrade or request.body or request.headers.get("content-length", "0") != "0":
            raise BadRequest("Upgrade request required")
        query = request.target.partition("?")[2]
        lines = [f"GET {answer.path}?{query} HTTP/1.1", "host: node", "connection: Upgrade"]
        lines += [f"{name}: {request.headers[name]}" for name in HANDSHAKE_HEADERS if name in request.headers]
        return await cls.begin(answer.way.connect, lines, client)

    @classmethod
    async def begin(
        cls, connect: Connect, lines: Sequence[str], client: Connection, what: str = "the node"
    ) -> "Tunnel":
        """Send a handshake and have it accepted. Raises APIError."""
        tunnel = cls(client, what)
        try:
            transport = await connect(lambda: tunnel)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"{what} does not answer: {error}") from error
        transport.write("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1"))
        try:
            await tunnel.answered()
        except BaseException:
            transport.abort()
            raise
        return tunnel

    async def answered(self) -> None:
        """Until the node has accepted. Raises APIError when it does not."""
        await self._answered

    async def carry(self) -> None:
        """Until one of both hangs up."""
        client = self._client
        client.keep_watch()
        head, end, rest = self._head.partition(END_OF_HEAD)
        self._joined = True
        client.write(head + end)
        self._pass_on(rest)
        client.join(self)
        try:
            await self._ended
        finally:
            self.close()

    def _pass_on(self, data: bytes) -> None:
        if not self._joined:
            self._head += data
            return
        for piece in self._frames.cut(data):
            self._client.write(piece)

    def close(self) -> None:
        """Hang up; the node may read what was sent."""
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(LINGER, self._transport.abort)

    # Onward -----------------------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Pass the client's bytes on."""
        if self._transport is not None and data:
            self._transport.write(data)

    def pause(self) -> None:
        """The client does not keep up."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """The client caught up."""
        if self._transport is not None:
            self._transport.resume_reading()

    # asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The node listens."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The node's answer to the handshake, then what it has for the client."""
        if self._answered.done():
            self._pass_on(data)
            return
        self._head += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._answered.set_result(None)
        except httptools.HttpParserError as error:
            self._fail(Unavailable(f"{self._what} does not answer: {error}"))

    def pause_writing(self) -> None:
        """The node reads slower than the client sends."""
        self._client.pause_reading()

    def resume_writing(self) -> None:
        """The node caught up."""
        self._client.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The node hung up: what it sent is sent on."""
        self._fail(Unavailable(f"{self._what} hung up: {exc or 'it is being restarted'}"))
        self._transport = None
        if self._joined:
            self._client.close()
        if not self._ended.done():
            self._ended.set_result(None)

    # httptools --------------------------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        """A part of why the node refuses."""
        self._body += body

    def on_message_complete(self) -> None:
        """The node refuses."""
        code = self._parser.get_status_code()
        if code == SWITCHING_PROTOCOLS:
            return
        text: Any = self._body.decode(errors="replace")
        with contextlib.suppress(orjson.JSONDecodeError):
            text = orjson.loads(self._body)
        self._fail(error_from_status(text, code))

    def _fail(self, error: APIError) -> None:
        if not self._answered.done():
            self._answered.set_exception(error)
