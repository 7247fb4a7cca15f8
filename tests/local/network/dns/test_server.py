"""The name server on loopback sockets; the host's resolver stands behind it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from ketch.local.network.dns.message import HEADER, encode_name
from ketch.local.network.dns.server import NameServer

NAME = "many.default.svc.cluster.local"


@dataclass
class Resolver:
    datagram_port: int
    stream_port: int

    async def ask(self, packet: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("127.0.0.1", self.datagram_port))
            await loop.sock_sendall(client, packet)
            return await asyncio.wait_for(loop.sock_recv(client, 4096), 10)


@pytest.fixture
async def resolver() -> AsyncIterator[Resolver]:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    listener = socket.create_server(("127.0.0.1", 0))
    server = NameServer()
    names = {NAME: tuple(f"10.244.1.{number}" for number in range(1, 101))}
    server.set_names(names | {"far.default.svc.cluster.local": ("localhost",)})
    await server.start(datagrams, listener)
    yield Resolver(datagrams.getsockname()[1], listener.getsockname()[1])
    await server.close()


def a_query(name: str, kind: int = 1) -> bytes:
    return HEADER.pack(9, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack(">HH", kind, 1)


def outcome(answer: bytes) -> tuple[int, int]:
    _, flags, _, answers, _, _ = HEADER.unpack_from(answer)
    return flags & 0xF, answers


async def test_the_clusters_names(resolver):
    assert outcome(await resolver.ask(a_query("none.default.svc.cluster.local"))) == (3, 0)
    code, answers = outcome(await resolver.ask(a_query(NAME)))
    assert code == 0
    assert 0 < answers < 100


async def test_what_finds_no_room_is_asked_again_over_tcp(resolver):
    reader, writer = await asyncio.open_connection("127.0.0.1", resolver.stream_port)
    for _ in range(2):
        packet = a_query(NAME)
        writer.write(len(packet).to_bytes(2) + packet)
        size = int.from_bytes(await reader.readexactly(2))
        assert outcome(await reader.readexactly(size)) == (0, 100)
    writer.close()
    await writer.wait_closed()


async def test_other_names_are_the_hosts(resolver):
    assert outcome(await resolver.ask(a_query("localhost")))[0] == 0
    assert outcome(await resolver.ask(a_query("localhost", kind=15))) == (4, 0)


async def test_garbage_is_answered_or_dropped_and_serving_goes_on(resolver):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_sendto(client, b"x", ("127.0.0.1", resolver.datagram_port))
    assert outcome(await resolver.ask(a_query("x")[:-3])) == (1, 0)
    assert outcome(await resolver.ask(a_query("none.cluster.local"))) == (3, 0)


async def test_an_alias_of_the_clusters_leads_outside(resolver):
    assert outcome(await resolver.ask(a_query("far.default.svc.cluster.local"))) == (0, 1)
