"""Ports of a pod for clients elsewhere (port-forward), in the two ways in which clients ask for them.

kubectl tunnels SPDY through its WebSocket: each connection it takes is a pair of streams, for data and for what went
wrong. Others name their ports ahead and have one connection to each, on two channels of the WebSocket.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from ketch.kube.errors import BadRequest
from ketch.local.node.streams.channels import DIALECTS, Channels
from ketch.local.node.streams.links import Dial, Link
from ketch.local.node.streams.spdy import (
    PROTOCOL_ERROR,
    REFUSED,
    Data,
    Decoder,
    Encoder,
    Malformed,
    Opened,
    Ping,
    Reset,
)

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_DIALECTS = {name: DIALECTS[name] for name in ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")}
MOST_PORTS, MOST_CONNECTIONS = 100, 1000
LARGEST_PORT = (1 << 16) - 1


def parse_ports(values: Sequence[str]) -> list[int]:
    """The ports that a request names ahead, each in a parameter of its own or several in one. Raises BadRequest."""
    texts = [text for value in values for text in value.split(",")]
    if not texts or len(texts) > MOST_PORTS:
        raise BadRequest(f"query parameter ports: name 1 to {MOST_PORTS} ports")
    for text in texts:
        if not (text.isdigit() and 1 <= int(text) <= LARGEST_PORT):
            raise BadRequest(f'query parameter ports: "{text}" is no port')
    return [int(text) for text in texts]


async def forward_channels(channels: Channels, dial: Dial, pod: str, ports: Sequence[int]) -> None:
    """One connection to each of the ports; channel 2n has the bytes of the n-th, 2n+1 what went wrong."""
    links: dict[int, Link] = {}

    async def carry(index: int, port: int) -> None:
        for channel in (2 * index, 2 * index + 1):
            await channels.send(channel, port.to_bytes(2, "little"))
        if error := await links[2 * index].run(dial, pod):
            await channels.send(2 * index + 1, error.encode())

    async def hear() -> None:
        while (message := await channels.receive()) is not None:
            channel, data = message
            if channel in links:
                await links[channel].feed(data)

    for index in range(len(ports)):
        links[2 * index] = Link(ports[index], lambda data, channel=2 * index: _said(channels, channel, data))
    carrying = asyncio.gather(*(carry(*each) for each in enumerate(ports)))
    hearing = asyncio.create_task(hear())
    try:
        await asyncio.wait({carrying, hearing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (carrying, hearing):
            task.cancel()
        await asyncio.gather(carrying, hearing, return_exceptions=True)
    await channels.close()


async def _said(channels: Channels, channel: int, data: bytes) -> None:
    if data:
        await channels.send(channel, data)


@dataclass(slots=True)
class _Pair:
    """The two streams of a connection, as far as they are open; ``link`` once they both are."""

    port: int
    data: int = 0
    error: int = 0
    link: Link | None = None
    task: asyncio.Task[None] | None = None


class Tunnel:
    """One client's SPDY session."""

    def __init__(self, socket: web.WebSocketResponse, dial: Dial, pod: str) -> None:
        self._socket = socket
        self._dial = dial
        self._pod = pod
        self._encoder = Encoder()
        self._pairs: dict[str, _Pair] = {}
        self._streams: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client hangs up, or speaks what is no SPDY."""
        decoder = Decoder()
        try:
            while (message := await self._socket.receive()).type is WSMsgType.BINARY:
                for frame in decoder.feed(message.data):
                    await self._take(frame)
        except (Malformed, ConnectionError):
            await self._socket.close()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, frame: Opened | Data | Reset | Ping) -> None:
        match frame:
            case Opened(stream, headers, _):
                await self._open(stream, headers)
            case Data(stream, data, last):
                pair = self._pairs.get(self._streams.get(stream, ""))
                if pair is not None and pair.data == stream and pair.link is not None:
                    await pair.link.feed(data, last=last)
                    if pair.link.overfed:
                        await self._give_up(stream, REFUSED)
            case Reset(stream):
                self._forget(stream)
            case Ping(number):
                await self._socket.send_bytes(self._encoder.ping(number))

    async def _open(self, stream: int, headers: Mapping[str, str]) -> None:
        kind, port, request = (headers.get(name, "") for name in ("streamtype", "port", "requestid"))
        if kind not in ("data", "error") or not port.isdigit() or not 1 <= int(port) <= LARGEST_PORT:
            await self._give_up(stream, PROTOCOL_ERROR)
            return
        if request not in self._pairs and len(self._pairs) >= MOST_CONNECTIONS:
            await self._give_up(stream, REFUSED)
            return
        pair = self._pairs.setdefault(request, _Pair(int(port)))
        if getattr(pair, kind) or stream in self._streams:
            await self._give_up(stream, PROTOCOL_ERROR)
            return
        self._streams[stream] = request
        if kind == "data":
            pair.data = stream
        else:
            pair.error = stream
        if pair.data and pair.error:
            pair.link = Link(pair.port, lambda data: self._say(pair.data, data))
        await self._socket.send_bytes(self._encoder.accepted(stream))
        if pair.link is not None:
            pair.task = asyncio.create_task(self._carry(request, pair, pair.link))
            self._tasks.add(pair.task)
            pair.task.add_done_callback(self._tasks.discard)

    async def _carry(self, request: str, pair: _Pair, link: Link) -> None:
        try:
            if error := await link.run(self._dial, self._pod):
                await self._say(pair.error, error.encode())
                await self._say(pair.data, b"")
            await self._say(pair.error, b"")
        except ConnectionError:
            return  # the client is gone
        finally:
            self._drop(request, pair)

    async def _say(self, stream: int, data: bytes) -> None:
        """Bytes on a stream; empty ones end it."""
        await self._socket.send_bytes(self._encoder.data(stream, data, last=not data))

    async def _give_up(self, stream: int, why: int) -> None:
        self._forget(stream)
        await self._socket.send_bytes(self._encoder.reset(stream, why))

    def _forget(self, stream: int) -> None:
        """A stream was given up, and the connection with it."""
        request = self._streams.get(stream, "")
        pair = self._pairs.get(request)
        if pair is not None:
            self._drop(request, pair)
            if pair.task is not None:
                pair.task.cancel()

    def _drop(self, request: str, pair: _Pair) -> None:
        """Nothing more of this connection; its name may mean another one by now."""
        if self._pairs.get(request) is pair:
            del self._pairs[request]
        for stream in (pair.data, pair.error):
            self._streams.pop(stream, None)
