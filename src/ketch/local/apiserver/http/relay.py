"""A request passed on to somebody else, and the answer passed back, as they come."""

import asyncio
from typing import Any

import httptools

from ketch.kube.errors import Unavailable
from ketch.local.apiserver.answers import RelayAnswer
from ketch.local.apiserver.http.connection import Connection, HTTPRequest
from ketch.local.apiserver.http.encoding import LAST_CHUNK, chunk
from ketch.local.apiserver.http.tunnel import Tunnel

PIECE = 1 << 16
CONNECT_SECONDS = 30.0
OWN_HEADERS = frozenset({"authorization", "content-length", "expect", "host", "x-remote-user", "x-remote-uid"})
"""Headers that are this server's to say: who somebody is at this server is nobody else's business."""

HOP_HEADERS = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    }
)
"""Headers that hold between neighbours only (RFC 9110, 7.6.1)."""

OWN_PREFIXES = ("impersonate-", "x-remote-group", "x-remote-extra-")
BODYLESS = (204, 304)


class _Answer:
    """Collects a response (httptools calls back)."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.complete = self.done = False
        self.body: list[bytes] = []
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The body follows."""
        self.complete = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self.body.append(body)

    def on_message_complete(self) -> None:
        """The response is whole."""
        self.done = True


def other_path(target: str, segments: int) -> str:
    """What is behind the first ``segments`` segments of a path, as its sender wrote it; all of it for none."""
    path = target.partition("?")[0]
    if not segments:
        return path
    parts = path.split("/", segments + 2)
    return f"/{parts[segments + 2]}" if len(parts) == segments + 3 else ""


def _head(answer: RelayAnswer, request: HTTPRequest, path: str) -> list[str]:
    query = request.target.partition("?")[2]
    lines = [f"{request.method} {path}{f'?{query}' if query else ''} HTTP/1.1", f"host: {answer.host}"]
    lines += [
        f"{name}: {text}"
        for name, text in request.headers.items()
        if name not in OWN_HEADERS and name not in HOP_HEADERS and not name.startswith(OWN_PREFIXES)
    ]
    lines += [f"{name}: {text}" for name, text in answer.headers]
    lines.append(f"x-forwarded-uri: {request.target.partition('?')[0]}")
    if "host" in request.headers:
        lines += [f"x-forwarded-host: {request.headers['host']}", "x-forwarded-proto: https"]
    return lines


def _written(lines: list[str], body: bytes = b"") -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body


async def relay(answer: RelayAnswer, request: HTTPRequest, client: Connection) -> int:
    """Pass a request on and its answer back: the answer's code. Raises Unavailable where nothing came back."""
    path = other_path(request.target, answer.segments)
    if not path:
        if request.method in ("GET", "HEAD"):
            return _redirect(request, client)
        path = "/"
    reader = asyncio.StreamReader(limit=PIECE)
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            transport = await answer.connect(lambda: protocol)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"error trying to reach {answer.what}: {str(error) or type(error).__name__}") from error
    try:
        lines = [*_head(answer, request, path), "connection: close"]
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(request.body)}")
        transport.write(_written(lines, request.body))
        return await _pass_back(answer, request, client, reader)
    finally:
        transport.abort()


async def _pass_back(
    answer: RelayAnswer, request: HTTPRequest, client: Connection, reader: asyncio.StreamReader
) -> int:
    response, begun, chunked = _Answer(), False, False
    while not response.done:
        try:
            data = await reader.read(PIECE)
            if data:
                response.parser.feed_data(data)
        except (OSError, httptools.HttpParserError) as error:
            return _broken(answer, client, str(error) or type(error).__name__, begun=begun)
        if response.complete and not begun:
            begun = True
            chunked = _begin(answer, request, client, response)
        for piece in response.body:
            client.write(chunk(piece) if chunked else piece)
        response.body.clear()
        await client.drained()
        if begun and request.method == "HEAD":
            break
        if not data:
            if not begun or not chunked:
                return _broken(answer, client, "the connection was closed", begun=begun)
            break
    if chunked:
        client.write(LAST_CHUNK)
    return int(response.parser.get_status_code())


def _broken(answer: RelayAnswer, client: Connection, why: str, *, begun: bool) -> int:
    """Nothing more comes. Raises Unavailable while that can still be said."""
    if not begun:
        raise Unavailable(f"error trying to reach {answer.what}: {why}")
    client.abort()
    return 0


def _begin(answer: RelayAnswer, request: HTTPRequest, client: Connection, response: _Answer) -> bool:
    """Send the head on; whether the body goes in chunks."""
    code = response.parser.get_status_code()
    sized = any(name.lower() == "content-length" for name, _ in response.headers)
    lines = [f"HTTP/1.1 {code} "]
    for name, text in response.headers:
        lower = name.lower()
        if lower in HOP_HEADERS:
            continue
        moved = lower == "location" and text.startswith("/") and not text.startswith("//")
        lines.append(f"{name}: {answer.root if moved else ''}{text}")
    bodyless = request.method == "HEAD" or code in BODYLESS
    chunked = not (bodyless or sized)
    if chunked:
        lines.append("transfer-encoding: chunked")
    if not request.keep_alive:
        lines.append("connection: close")
    client.write(_written(lines))
    return chunked


def _redirect(request: HTTPRequest, client: Connection) -> int:
    """Pages refer to others relative to their own path: the root's must end with a slash."""
    path, mark, query = request.target.partition("?")
    lines = ["HTTP/1.1 301 Moved Permanently", f"location: {path}/{mark}{query}", "content-length: 0"]
    if not request.keep_alive:
        lines.append("connection: close")
    client.write(_written(lines))
    return 301


async def join(answer: RelayAnswer, request: HTTPRequest, client: Connection) -> Tunnel:
    """A live connection, as whoever answers accepts it. Raises APIError."""
    path = other_path(request.target, answer.segments) or "/"
    head = [*_head(answer, request, path), "connection: Upgrade", f"upgrade: {request.headers.get('upgrade', '')}"]
    return await Tunnel.begin(answer.connect, head, client, answer.what)
