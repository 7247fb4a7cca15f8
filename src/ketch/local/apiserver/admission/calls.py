"""Asking a webhook over HTTPS: one JSON document there, one back, on connections that are kept."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httptools
import orjson

from ketch.local.apiserver.admission.places import Place

Dial = Callable[[str, int], Awaitable[Any]]
"""Gives a connected, non-blocking socket to an address of the cluster. Raises OSError."""


async def dial_directly(host: str, port: int) -> socket.socket:
    """A connection from where this process is."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except BaseException:
        connection.close()
        raise
    return connection


LARGEST_ANSWER = 8 * 1024 * 1024
MOST_IDLE = 4


class CallError(Exception):
    """The webhook gave no usable answer; the message says why."""


class Answer:
    """Collects a response (httptools calls back)."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.done = False
        self.keep_alive = False
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        """Whether the connection goes on is only known here."""
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self.body += body
        if len(self.body) > LARGEST_ANSWER:
            raise CallError(f"the answer is larger than {LARGEST_ANSWER} bytes")

    def on_message_complete(self) -> None:
        """The response is whole."""
        self.done = True


class Caller:
    """Connections to one webhook."""

    def __init__(self, ca_bundle: str, dial: Dial) -> None:
        self._dial = dial
        self._ca_bundle = ca_bundle
        self._context: ssl.SSLContext | None = None
        self._idle: list[tuple[Place, asyncio.StreamReader, asyncio.StreamWriter]] = []

    def _secured(self) -> ssl.SSLContext:
        if self._context is None:
            try:
                text = base64.b64decode(self._ca_bundle).decode() if self._ca_bundle else None
                self._context = ssl.create_default_context(cadata=text)
            except (ValueError, ssl.SSLError) as error:
                raise CallError(f"caBundle holds no certificates: {error}") from error
        return self._context

    async def post(self, place: Place, document: Mapping[str, Any], seconds: float) -> Any:
        """The answer to a document. Raises CallError."""
        body = orjson.dumps(document)
        head = (
            f"POST {place.path} HTTP/1.1\r\nhost: {place.name}\r\ncontent-type: application/json\r\n"
            f"accept: application/json\r\nuser-agent: ketch-apiserver-admission\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(place, head.encode() + body)
        except TimeoutError as error:
            raise CallError(f'Post "{place.url}": context deadline exceeded') from error

    async def _exchange(self, place: Place, request: bytes) -> Any:
        while True:
            reused = bool(self._idle) and self._idle[-1][0] == place
            try:
                reader, writer = self._idle.pop()[1:] if reused else await self._connect(place)
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
                raise CallError(f'Post "{place.url}": {_why(error)}') from error
            kept = False
            try:
                answer = await ask(reader, writer, request)
                kept = answer.keep_alive and len(self._idle) < MOST_IDLE
                return _understood(answer)
            except (OSError, ssl.SSLError, EOFError, httptools.HttpParserError) as error:
                if not reused:  # else the other side had closed it meanwhile
                    raise CallError(f'Post "{place.url}": {_why(error)}') from error
            finally:
                if kept:
                    self._idle.append((place, reader, writer))
                else:
                    writer.transport.abort()

    async def _connect(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = self._secured()
        if not place.inside:
            return await asyncio.open_connection(place.host, place.port, ssl=context, server_hostname=place.name)
        connection = await self._dial(place.host, place.port)
        return await asyncio.open_connection(sock=connection, ssl=context, server_hostname=place.name)

    def close(self) -> None:
        """Drop the connections."""
        for _, _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
    """One request and its response. Raises OSError, EOFError, HttpParserError."""
    writer.write(request)
    await writer.drain()
    answer = Answer()
    while not answer.done:
        data = await reader.read(65536)
        if not data:
            raise EOFError("the connection was closed before an answer came")
        answer.parser.feed_data(data)
    return answer


def _understood(answer: Answer) -> Any:
    code = answer.parser.get_status_code()
    if not 200 <= code < 300:
        text = bytes(answer.body[:200]).decode(errors="replace").strip()
        raise CallError(f"the server answered {code}: {text}" if text else f"the server answered {code}")
    try:
        return orjson.loads(bytes(answer.body))
    except orjson.JSONDecodeError as error:
        raise CallError(f"the answer is no JSON: {error}") from error


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__
