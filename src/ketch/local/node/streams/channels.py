"""Several streams on one WebSocket: a message's first byte says whose it is (``*.channel.k8s.io``)."""

import base64
import binascii
from collections.abc import Mapping
from typing import NamedTuple

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from ketch.kube.errors import BadRequest

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255
"""Not a stream: the message names the one on which nothing more will come."""

LARGEST_MESSAGE = 1 << 27
LARGEST_SIDE = (1 << 16) - 1
FIRST_DIGIT = ord("0")


class Dialect(NamedTuple):
    """``base64``: messages are text. ``status``: the end is told as a metav1.Status, else only a failure, in words."""

    base64: bool
    status: bool


DIALECTS: Mapping[str, Dialect] = {
    "v5.channel.k8s.io": Dialect(base64=False, status=True),
    "v4.channel.k8s.io": Dialect(base64=False, status=True),
    "v4.base64.channel.k8s.io": Dialect(base64=True, status=True),
    "channel.k8s.io": Dialect(base64=False, status=False),
    "base64.channel.k8s.io": Dialect(base64=True, status=False),
}
PROTOCOL_HEADER = "Sec-WebSocket-Protocol"


def asked_protocols(request: web.Request) -> list[str]:
    """The subprotocols that the client speaks, the best first. Raises BadRequest for what is no WebSocket."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise BadRequest("Upgrade request required")
    text = ",".join(request.headers.getall(PROTOCOL_HEADER, ()))
    return [name for each in text.split(",") if (name := each.strip())]


async def accept(request: web.Request, supported: Mapping[str, Dialect] = DIALECTS) -> "Channels":
    """Agree on a dialect and begin. Raises BadRequest when there is none that both speak."""
    asked = asked_protocols(request)
    chosen = next((name for name in asked if name in supported), "")
    if asked and not chosen:
        raise BadRequest(f"unable to upgrade: unsupported subprotocols {asked}: supported are {list(supported)}")
    socket = await open_socket(request, chosen)
    return Channels(socket, supported.get(chosen, DIALECTS["channel.k8s.io"]))


async def open_socket(request: web.Request, protocol: str) -> web.WebSocketResponse:
    """Answer the handshake."""
    protocols = (protocol,) if protocol else ()
    socket = web.WebSocketResponse(protocols=protocols, max_msg_size=LARGEST_MESSAGE, compress=False)
    await socket.prepare(request)
    return socket


class Channels:
    """One client's streams. Sending to a client that is gone does nothing."""

    def __init__(self, socket: web.WebSocketResponse, dialect: Dialect) -> None:
        self._socket = socket
        self._dialect = dialect
        self.gone = False

    @property
    def response(self) -> web.StreamResponse:
        """What the handler of the client's request returns."""
        return self._socket

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes on a channel, as fast as the client reads."""
        if self.gone:
            return
        try:
            if self._dialect.base64:
                await self._socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
            else:
                await self._socket.send_bytes(bytes((channel,)) + data)
        except ConnectionError:
            self.gone = True

    async def receive(self) -> tuple[int, bytes] | None:
        """The next message and its channel; None when the client is gone."""
        while not self.gone:
            message = await self._socket.receive()
            match message.type:
                case WSMsgType.BINARY:
                    data: bytes = message.data
                case WSMsgType.TEXT:
                    data = message.data.encode()
                case _:
                    self.gone = True
                    return None
            if data and (found := self._decoded(data)) is not None:
                return found
        return None

    def _decoded(self, data: bytes) -> tuple[int, bytes] | None:
        if not self._dialect.base64:
            return data[0], data[1:]
        try:
            return data[0] - FIRST_DIGIT, base64.b64decode(data[1:], validate=True)
        except binascii.Error:
            return None

    async def tell_end(self, code: int) -> None:
        """Say how the command ended, and hang up."""
        if code:
            await self._fail(non_zero_exit(code))
        elif self._dialect.status:
            await self.send(ERROR, orjson.dumps({"metadata": {}, "status": "Success"}))
        await self.close()

    async def tell_failure(self, message: str) -> None:
        """Say that there is no command, or none any more, and hang up."""
        await self._fail(internal_error(message))
        await self.close()

    async def _fail(self, status: Mapping[str, object]) -> None:
        await self.send(ERROR, orjson.dumps(status) if self._dialect.status else str(status["message"]).encode())

    async def close(self) -> None:
        """Hang up."""
        if not self.gone:
            self.gone = True
            await self._socket.close(code=WSCloseCode.OK)


def parse_size(data: bytes) -> tuple[int, int] | None:
    """Lines and columns of a terminal from a message of the channel RESIZE; None when it makes no sense."""
    try:
        size = orjson.loads(data)
        lines, columns = size["Height"], size["Width"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    fits = all(isinstance(each, int) and 0 <= each <= LARGEST_SIDE for each in (lines, columns))
    return (lines, columns) if fits else None


def non_zero_exit(code: int) -> dict[str, object]:
    """The Status of a command that failed, as clients look for its exit code."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def internal_error(message: str) -> dict[str, object]:
    """The Status of a session that came to no end of its own."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
