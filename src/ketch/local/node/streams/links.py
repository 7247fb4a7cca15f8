"""One connection to a port of a pod, on behalf of a client that speaks through something else."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from ketch.local.node.streams.descriptors import CHUNK
from ketch.local.sandbox.errors import SandboxError

Dial = Callable[[int], Awaitable[socket.socket]]
"""A connection to a port of the pod. Raises SandboxError."""

MOST_HELD = 4 << 20
"""Bytes that wait for a pod that does not read before its client, with all its connections, has to."""

LAST_WORDS = 1.0
"""Seconds in which a client may still send when the pod has nothing more to say."""


class Link:
    """What the client sends comes by ``feed``, also before the connection is made; ``send`` gets what the pod says."""

    def __init__(self, port: int, send: Callable[[bytes], Awaitable[None]]) -> None:
        self.port = port
        self._send = send
        self._writer: asyncio.StreamWriter | None = None
        self._early = bytearray()
        self._client_ended = asyncio.Event()

    async def feed(self, data: bytes, *, last: bool = False) -> None:
        """Pass bytes on; nothing follows the ``last``."""
        if last:
            self._client_ended.set()
        if self._writer is None:
            self._early += data
            return
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            if last:
                self._writer.write_eof()
            await self._writer.drain()

    @property
    def overfed(self) -> bool:
        """Whether more came than may wait for a connection that is not made yet."""
        return len(self._early) > MOST_HELD

    async def run(self, dial: Dial, pod: str) -> str:
        """Until the pod has said all. What went wrong, in words; empty when nothing did."""
        try:
            connection = await dial(self.port)
        except SandboxError as error:
            return f"error forwarding port {self.port} to pod {pod}: {error}"
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.transport.set_write_buffer_limits(high=MOST_HELD)
        try:
            self._writer = writer
            early, self._early = bytes(self._early), bytearray()
            await self.feed(early, last=self._client_ended.is_set())
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(CHUNK):
                    await self._send(data)
            await self._send(b"")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._client_ended.wait(), LAST_WORDS)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return ""
