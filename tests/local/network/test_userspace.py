"""Services without the kernel's help, on loopback addresses."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from ketch.local.network.namespaces import NamespaceThread
from ketch.local.network.userspace import UserspaceServices
from ketch.local.network.wire import ServiceEntry

ADDRESS = "127.9.8.7"


@pytest.fixture
async def services() -> AsyncIterator[UserspaceServices]:
    thread = NamespaceThread("test")
    made = UserspaceServices(thread)
    yield made
    made.close()
    thread.close()


async def a_server(name: bytes) -> tuple[asyncio.Server, int]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection(ADDRESS, port)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_connections_are_spread_and_tables_follow_one_another(services):
    (one, first), (two, second) = await a_server(b"one"), await a_server(b"two")
    endpoints = (("127.0.0.1", first), ("127.0.0.1", second))
    async with one, two:
        await services.set([ServiceEntry(ADDRESS, 18080, "TCP", endpoints)])
        assert {await ask(18080) for _ in range(40)} == {b"one", b"two"}
        await services.set([ServiceEntry(ADDRESS, 18080, "TCP", endpoints[:1])])
        assert {await ask(18080) for _ in range(10)} == {b"one"}
        await services.set([ServiceEntry(ADDRESS, 18080, "TCP")])
        with pytest.raises(ConnectionRefusedError):
            await ask(18080)


async def test_an_endpoint_that_refuses_is_a_reset(services):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    await services.set([ServiceEntry(ADDRESS, 18081, "TCP", (("127.0.0.1", port),))])
    with pytest.raises(ConnectionResetError):
        await ask(18081)


@contextlib.contextmanager
def a_socket(port: int | None = 0) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        if port is not None:
            made.bind(("127.0.0.1", port))
        yield made


async def test_datagrams_find_their_way_back_and_follow_the_table(services):
    loop = asyncio.get_running_loop()
    with a_socket() as one, a_socket() as two, a_socket(None) as client:
        for server in (one, one, two):
            await services.set([ServiceEntry(ADDRESS, 18082, "UDP", (server.getsockname(),))])
            client.connect((ADDRESS, 18082))
            await loop.sock_sendall(client, b"word")
            data, sender = await asyncio.wait_for(loop.sock_recvfrom(server, 100), 10)
            await loop.sock_sendto(server, data.upper(), sender)
            assert await asyncio.wait_for(loop.sock_recv(client, 100), 10) == b"WORD"
