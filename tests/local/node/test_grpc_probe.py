"""gRPC probes against a server that speaks HTTP/2 by somebody else's library."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("h2")
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.types.containers import Container, GRPCAction, Probe
from ketch.local.node.actions import ActionFailed, Actions


class HealthServer:
    """Answers what ``status`` says; remembers what it was asked."""

    def __init__(self) -> None:
        self.status: int | None = 1
        self.headers: dict[bytes, bytes] = {}
        self.message = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        connection.ping(b"12345678")
        writer.write(connection.data_to_send())
        self.message = b""
        while data := await reader.read(1 << 16):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    self.headers = dict(event.headers)
                elif isinstance(event, DataReceived):
                    self.message += event.data
                elif isinstance(event, StreamEnded):
                    self.answer(connection, event.stream_id)
            writer.write(connection.data_to_send())
        writer.close()

    def answer(self, connection: H2Connection, stream: int) -> None:
        head = [(":status", "200"), ("content-type", "application/grpc")]
        if self.status is None:
            connection.send_headers(stream, [*head, ("grpc-status", "12")], end_stream=True)
            return
        body = bytes((8, self.status)) if self.status else b""
        connection.send_headers(stream, head)
        connection.send_data(stream, struct.pack(">BI", 0, len(body)) + body, pad_length=7)
        connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


class Loopback:
    """The network as probes need it."""

    async def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
        except OSError:
            connection.close()
            raise
        return connection


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    made = HealthServer()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()


Ask = Callable[..., Awaitable[None]]


@pytest.fixture
def ask() -> Ask:
    """Probes a port on the loopback."""
    network: Any = Loopback()
    nothing: Any = None
    actions = Actions(nothing, network, SYSTEM_CLOCK)

    async def probe(port: int, service: str = "", timeout: int = 30) -> None:
        action = Probe(grpc=GRPCAction(port=port, service=service), timeout_seconds=timeout)
        await actions.probe(action, Container(name="main", image="x"), nothing, "127.0.0.1")

    return probe


@pytest.mark.parametrize("service", ["", "ready", "s" * 300])
async def test_who_serves_is_well(server: HealthServer, ask: Ask, service: str):
    await ask(server.port, service)
    assert server.headers[b":path"] == b"/grpc.health.v1.Health/Check"
    assert server.headers[b":authority"] == f"127.0.0.1:{server.port}".encode()
    assert server.headers[b"content-type"] == b"application/grpc"
    assert server.message[5:].endswith(service.encode())
    assert int.from_bytes(server.message[1:5], "big") == len(server.message) - 5


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (2, 'service unhealthy (responded with "NOT_SERVING")'),
        (0, 'service unhealthy (responded with "UNKNOWN")'),
        (3, 'service unhealthy (responded with "SERVICE_UNKNOWN")'),
        (9, 'service unhealthy (responded with "9")'),
        (None, "does not implement the grpc health protocol"),
    ],
)
async def test_who_says_anything_else_is_not(server: HealthServer, ask: Ask, status: int | None, words: str):
    server.status = status
    with pytest.raises(ActionFailed) as failed:
        await ask(server.port)
    assert words in str(failed.value)


async def test_a_server_of_something_else_and_none_at_all(ask: Ask):
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    for serve, words in ((web, "does not speak HTTP/2"), (mute, "did not complete within 1s")):
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            with pytest.raises(ActionFailed, match=words):
                await ask(listening.sockets[0].getsockname()[1], timeout=1)
    with pytest.raises(ActionFailed, match="connection refused"):
        await ask(1)
