"""Ports of a pod for clients elsewhere, in both ways in which clients ask."""

import zlib
from pathlib import Path

import pytest
from tests.local.node.conftest import NAMESPACE, Node
from tests.local.node.streams.clients import V4, StreamClient, connected, refusal
from tests.waiting import eventually

from ketch.local.node.streams.forwarding import TUNNEL, parse_ports
from ketch.local.node.streams.spdy import DICTIONARY, HEAD, Data, Decoder, Malformed, Opened, Ping, Reset

PATH = f"/portForward/{NAMESPACE}/p"
SERVER = """
import socketserver, threading
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        data = self.rfile.read()
        self.wfile.write(data[::-1])
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", 8000), Echo).serve_forever()
"""


@pytest.fixture
async def pod(node: Node) -> Node:
    """A pod that listens on its loopback: it says backwards all that a client has said, once it has ended."""
    script = f"python3 -c '{SERVER}'"
    await node.create("p", {"image": "python:3.11", "sh": script})
    await node.phase("p", "Running")

    async def listens() -> bool:
        check = ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000))"]
        async with connected(node.data, PATH.replace("portForward", "exec") + "/main", command=check) as client:
            return await client.code() == 0

    await eventually(listens)
    return node


class Session:
    """A client's side of a SPDY session: it says what it is told to, byte for byte."""

    def __init__(self, client: StreamClient) -> None:
        self._client = client
        self._headers = zlib.compressobj(zdict=DICTIONARY)
        self._rest = b""
        self.replies: list[int] = []
        self.resets: list[int] = []
        self.pings: list[int] = []
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def syn(self, stream: int, **headers: str) -> bytes:
        block = len(headers).to_bytes(4, "big")
        for name, value in headers.items():
            for text in (name, value):
                block += len(text).to_bytes(4, "big") + text.encode()
        body = stream.to_bytes(4, "big") + bytes(6)
        body += self._headers.compress(block) + self._headers.flush(zlib.Z_SYNC_FLUSH)
        return control(1, body)

    async def open(self, stream: int, kind: str, port: int | str, request: str) -> None:
        await self.say(self.syn(stream, streamtype=kind, port=str(port), requestid=request))

    async def say(self, data: bytes) -> None:
        await self._client.socket.send_bytes(data)

    async def until_ended(self, *streams: int) -> None:
        while not self.ended.issuperset(streams):
            await self.read()

    async def read(self) -> None:
        self._rest += await self._client.socket.receive_bytes()
        while len(self._rest) >= HEAD:
            length = int.from_bytes(self._rest[5:HEAD], "big")
            if len(self._rest) < HEAD + length:
                return
            head, body, self._rest = self._rest[:HEAD], self._rest[HEAD : HEAD + length], self._rest[HEAD + length :]
            self._take(head, body)

    def _take(self, head: bytes, body: bytes) -> None:
        number = int.from_bytes(body[:4], "big")
        if head[0] & 0x80:
            {2: self.replies, 3: self.resets, 6: self.pings}[int.from_bytes(head[2:4], "big")].append(number)
            return
        stream = int.from_bytes(head[:4], "big")
        self.data[stream] = self.data.get(stream, b"") + body
        if head[4] & 1:
            self.ended.add(stream)


def control(kind: int, body: bytes) -> bytes:
    return b"\x80\x03" + kind.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body


def said(stream: int, data: bytes, *, last: bool = False) -> bytes:
    return stream.to_bytes(4, "big") + bytes((last,)) + len(data).to_bytes(3, "big") + data


async def test_connections_side_by_side_each_with_an_end_of_its_own(pod: Node):
    async with connected(pod.data, PATH, [TUNNEL]) as client:
        session = Session(client)
        for number in range(3):
            await session.open(4 * number + 1, "error", 8000, str(number))
            await session.open(4 * number + 3, "data", 8000, str(number))
        big = bytes(range(256)) * 2000
        for number in range(3):
            await session.say(said(4 * number + 3, b"%d" % number) + said(4 * number + 3, big, last=True))
        await session.until_ended(1, 3, 5, 7, 9, 11)
        assert sorted(session.replies) == [1, 3, 5, 7, 9, 11]
        for number in range(3):
            assert session.data[4 * number + 3] == (b"%d" % number + big)[::-1]
            assert session.data[4 * number + 1] == b""


async def test_a_port_on_which_nobody_listens_fails_one_connection(pod: Node):
    async with connected(pod.data, PATH, [TUNNEL]) as client:
        session = Session(client)
        await session.open(1, "error", 8001, "0")
        await session.open(3, "data", 8001, "0")
        await session.until_ended(1, 3)
        assert b"error forwarding port 8001 to pod default/p: dial tcp 127.0.0.1:8001" in session.data[1]
        await session.open(5, "error", 8000, "1")
        await session.open(7, "data", 8000, "1")
        await session.say(said(7, b"abc", last=True))
        await session.until_ended(5, 7)
        assert session.data[7] == b"cba"


async def test_what_makes_no_sense_is_reset_and_pings_come_back(pod: Node):
    async with connected(pod.data, PATH, [TUNNEL]) as client:
        session = Session(client)
        await session.open(1, "both", 8000, "0")
        await session.open(3, "data", "many", "0")
        await session.open(5, "data", 8000, "1")
        await session.open(7, "data", 8000, "1")
        await session.say(control(6, (9).to_bytes(4, "big")) + said(99, b"nobody") + control(4, bytes(4)))
        while not session.pings:
            await session.read()
        assert session.resets == [1, 3, 7]
        assert session.replies == [5]


async def test_a_stream_that_is_given_up_ends_its_connection(pod: Node):
    async with connected(pod.data, PATH, [TUNNEL]) as client:
        session = Session(client)
        await session.open(1, "error", 8000, "0")
        await session.open(3, "data", 8000, "0")
        await session.say(control(3, (3).to_bytes(4, "big") + (5).to_bytes(4, "big")))
        await session.open(5, "error", 8000, "0")
        await session.open(7, "data", 8000, "0")
        await session.say(said(7, b"ab", last=True))
        await session.until_ended(5, 7)
        assert session.data[7] == b"ba"


async def test_ports_on_channels(pod: Node):
    async with connected(pod.data, PATH, [V4], ports="8000,8001") as client:
        await client.expect(3, "connect: connection refused")
        await client.send(0, "abc")
        assert (client.seen[0], client.seen[1]) == ((8000).to_bytes(2, "little"), (8000).to_bytes(2, "little"))
        assert client.seen[2] == (8001).to_bytes(2, "little")
        await pod.delete("p", 0)
        while await client.read():
            continue


async def test_what_cannot_be_forwarded(pod: Node, data: Path):
    assert (await refusal(data, PATH))[0] == 400
    assert (await refusal(data, PATH, ports="0"))[1] == 'query parameter ports: "0" is no port'
    await pod.create("over", {"sh": "exit 0"})
    await pod.phase("over", "Succeeded")
    code, message = await refusal(data, PATH.replace("/p", "/over").replace("/overort", "/port"), ports="1")
    assert (code, message) == (404, "unable to forward port because pod is not running. Current status=Succeeded")


def test_ports_of_a_query():
    assert parse_ports(["1,2", "65535"]) == [1, 2, 65535]
    with pytest.raises(Exception, match="is no port"):
        parse_ports(["65536"])


def test_frames_come_out_however_the_bytes_came_in():
    session = Session(None)  # pyright: ignore[reportArgumentType]  # it says nothing
    stream = (
        session.syn(1, streamtype="data")
        + said(1, b"abc", last=True)
        + control(6, b"\0\0\0\7")
        + control(3, b"\0\0\0\1\0\0\0\5")
    )
    wanted = [Opened(1, {"streamtype": "data"}), Data(1, b"abc", last=True), Ping(7), Reset(1)]
    for step in (1, 3, len(stream)):
        decoder = Decoder()
        assert [frame for at in range(0, len(stream), step) for frame in decoder.feed(stream[at : at + step])] == wanted


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x80\x02" + bytes(6), id="an older version"),
        pytest.param(control(1, bytes(10) + b"no zlib"), id="headers that are none"),
        pytest.param(control(1, bytes(10) + zlib.compress(bytes(1 << 20))), id="headers that are a bomb"),
    ],
)
def test_what_is_no_spdy_is_refused(data: bytes):
    with pytest.raises(Malformed):
        list(Decoder().feed(data))
