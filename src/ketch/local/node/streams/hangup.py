"""Whether a client is still there, also while nobody reads what it sends."""

import asyncio
import contextlib
import os
import select
from collections.abc import Generator

from aiohttp import web


@contextlib.contextmanager
def hung_up(request: web.Request) -> Generator[asyncio.Future[None]]:
    """A future that is done once the other side of the connection is closed."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    transport = request.transport
    if transport is None:
        future.set_result(None)
        yield future
        return
    # The loop has the connection's own descriptor already: so it is given another that tells of it.
    connection = os.dup(transport.get_extra_info("socket").fileno())
    poll = select.epoll()
    poll.register(connection, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLET)

    def gone() -> None:
        loop.remove_reader(poll.fileno())
        if not future.done():
            future.set_result(None)

    loop.add_reader(poll.fileno(), gone)
    try:
        yield future
    finally:
        loop.remove_reader(poll.fileno())
        poll.close()
        os.close(connection)
        future.cancel()
