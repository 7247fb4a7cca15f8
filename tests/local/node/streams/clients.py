"""A client of the node's live connections, as simple as one can be: it speaks WebSocket on the node's own socket."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import WSMsgType

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"


class StreamClient:
    """One live connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: dict[int, bytearray] = {}
        self.frames: list[bytes] = []

    async def send(self, channel: int, data: bytes | str) -> None:
        """A message in one of the binary dialects."""
        await self.socket.send_bytes(bytes((channel,)) + (data.encode() if isinstance(data, str) else data))

    async def expect(self, channel: int, text: str) -> None:
        """Read until ``text`` has come."""
        while text.encode() not in self.seen.get(channel, b""):
            assert await self.read(), f"never {text!r}: {self.seen}"

    async def read(self) -> bool:
        """One message; False at the end."""
        message = await self.socket.receive()
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return False
        data: bytes = message.data if message.type is WSMsgType.BINARY else message.data.encode()
        self.frames.append(data)
        self.seen.setdefault(data[0], bytearray()).extend(data[1:])
        return True

    async def end(self) -> dict[str, Any]:
        """Read to the end: the Status."""
        while await self.read():
            continue
        return json.loads(self.seen[ERROR])

    async def code(self) -> int:
        """Read to the end: the command's exit code."""
        status = await self.end()
        if status["status"] == "Success":
            return 0
        assert status["reason"] == "NonZeroExitCode", status
        (cause,) = status["details"]["causes"]
        assert cause["reason"] == "ExitCode"
        return int(cause["message"])


@asynccontextmanager
async def connected(
    data: Path, path: str, protocols: Sequence[str] = (V5, V4), **query: Any
) -> AsyncIterator[StreamClient]:
    """A live connection at ``path`` of the node with that data directory."""
    connector = aiohttp.UnixConnector(str(data / "run" / "node.sock"))
    parameters = [
        (name, each) for name, value in query.items() for each in (value if isinstance(value, list) else [value])
    ]
    options: dict[str, Any] = {"protocols": protocols, "params": parameters, "max_msg_size": 0}
    options["timeout"] = aiohttp.ClientWSTimeout(ws_close=0.5)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"http://node{path}", **options) as socket,
    ):
        yield StreamClient(socket)


async def refusal(data: Path, path: str, **query: Any) -> tuple[int, str]:
    """Status code and message of a connection that the node does not begin."""
    try:
        async with connected(data, path, **query):
            raise AssertionError("it was begun")
    except aiohttp.WSServerHandshakeError as error:
        code = error.status
    connector = aiohttp.UnixConnector(str(data / "run" / "node.sock"))
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://node{path}", params=query, headers=headers) as answer,
    ):
        return code, (await answer.json())["message"]
