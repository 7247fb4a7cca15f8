"""A small HTTP/1.1 client for load: one connection, one request at a time, nothing parsed but status and length.

The same code drives Ketch and its peer, so that its own cost is in both figures alike.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Endpoint:
    """Where to send, with TLS material; ``name`` is the name in the server's certificate."""

    port: int
    certificate_authority: Path
    certificate: Path
    key: Path

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """What all connections share: reading certificates anew for thousands of them would be the longer part."""
        context = ssl.create_default_context(cafile=str(self.certificate_authority))
        context.load_cert_chain(self.certificate, self.key)
        return context


class Connection:
    """One kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        return cls(
            *await asyncio.open_connection("127.0.0.1", endpoint.port, ssl=endpoint.tls, server_hostname="localhost")
        )

    def _send(self, method: str, path: str, body: bytes, content_type: str = "application/json") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
        if body:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)

    async def _head(self) -> tuple[int, bytes]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        return int(head[9:12]), head.lower()

    async def request(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
        """The answer's body. Raises RuntimeError unless the status is 2xx."""
        self._send(method, path, body, content_type)
        status, head = await self._head()
        at = head.find(b"content-length:")
        if at < 0:
            answer = b"".join([chunk async for chunk in self._chunks()])
        else:
            length = int(head[at + 15 : head.index(b"\r\n", at)])
            answer = await self._reader.readexactly(length)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return answer

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self._reader.readline(), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()

    async def lines(self, method: str, path: str, body: bytes = b"") -> AsyncIterator[bytes]:
        """A streamed answer's lines as they come; the first yield is empty: the stream is open."""
        self._send(method, path, body)
        status, _ = await self._head()
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status}")
        yield b""
        rest = b""
        async for chunk in self._chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


Work = Callable[[Connection, int], Awaitable[None]]


async def throughput(endpoint: Endpoint, clients: int, count: int, work: Work) -> float:
    """Calls per second: ``clients`` connections share ``count`` calls of ``work(connection, number)``."""
    connections = [await Connection.open(endpoint) for _ in range(clients)]
    numbers = iter(range(count))

    async def drive(connection: Connection) -> None:
        for number in numbers:
            await work(connection, number)

    started = time.perf_counter()
    await asyncio.gather(*map(drive, connections))
    seconds = time.perf_counter() - started
    for connection in connections:
        await connection.close()
    return count / seconds
