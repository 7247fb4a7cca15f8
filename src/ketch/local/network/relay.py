"""Bytes from one connection to another, both ways, and servers that do nothing else."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable

_CHUNK = 1 << 16
_NO_LINGERING = struct.pack("ii", 1, 0)
_LOG = logging.getLogger(__name__)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def close_stream(writer: asyncio.StreamWriter, *, abruptly: bool = False) -> None:
    """Close a connection; ``abruptly``: the other side sees a reset."""
    if abruptly and not writer.transport.is_closing():
        closing: socket.socket = writer.get_extra_info("socket")
        if closing.family == socket.AF_INET:
            closing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def join(one: Streams, other: Streams) -> None:
    """Carry bytes both ways until both ends have closed, or one breaks; then both are closed."""
    broken = False
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(one[0], other[1]))
            group.create_task(_pump(other[0], one[1]))
    except* OSError:
        broken = True
    finally:
        await close_stream(one[1], abruptly=broken)
        await close_stream(other[1], abruptly=broken)


async def serve_relay(listener: socket.socket, reach: Callable[[], Awaitable[Streams]]) -> asyncio.Server:
    """Join every connection to ``listener`` with what ``reach`` opens; what cannot be reached is a reset."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other = await reach()
        except OSError as error:
            _LOG.debug("cannot relay a connection: %s", error)
            await close_stream(writer, abruptly=True)
            return
        await join((reader, writer), other)

    return await asyncio.start_server(relay, sock=listener)
