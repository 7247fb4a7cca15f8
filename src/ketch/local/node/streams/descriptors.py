"""Pipes and terminals without blocking: read as it comes, write as it fits."""

import asyncio
import fcntl
import os
import struct
import termios

CHUNK = 1 << 16


class Source:
    """What comes out of a descriptor."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._last = self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while True:
            try:
                return os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                if self._last:
                    return b""
            except OSError:  # a terminal that nobody has open any more
                return b""
            self._waiter = self._loop.create_future()
            self._loop.add_reader(self._descriptor, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                self._loop.remove_reader(self._descriptor)

    def finish(self) -> None:
        """Who matters has written all it will: what is there now is the rest, whoever holds the other end."""
        self._last = True
        if self._waiter is not None:
            _wake(self._waiter)

    def close(self) -> None:
        """Give the descriptor back. Nobody may be reading."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


class Sink:
    """What goes into a descriptor. What nobody wants to read any more is dropped."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._loop = asyncio.get_running_loop()

    async def write(self, data: bytes) -> None:
        """Write all of it, as fast as it is read."""
        view = memoryview(data)
        while view and self._descriptor is not None:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await self._writable(self._descriptor)
            except OSError:
                return

    async def _writable(self, descriptor: int) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(descriptor, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_writer(descriptor)

    def close(self) -> None:
        """Say that nothing more comes. Nobody may be writing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def set_size(terminal: int, lines: int, columns: int) -> None:
    """Give a terminal its size; who runs on it is told by the kernel."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
