"""One question of grpc.health.v1 on a connection: just as much HTTP/2 as it takes, and no more.

Request headers are written without compression, and the answer's are not read: what a server says of its health is
data, and a server that has no such service answers without any.
"""

import asyncio
import struct
from collections.abc import Iterator
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9
DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACKNOWLEDGED, END_HEADERS, PADDED = 1, 1, 4, 8
STREAM = 1
METHOD_POST, SCHEME_HTTP = 0x83, 0x86
AUTHORITY, PATH, NEW_NAME = 1, 4, 0
"""Of HPACK's table of well-known headers; a literal that is not to be remembered begins with the name's number."""

CHECK = "/grpc.health.v1.Health/Check"
LONGEST_FRAME = 1 << 14


class Health(IntEnum):
    """grpc.health.v1.HealthCheckResponse.ServingStatus."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class NoAnswer(Exception):
    """The server speaks no gRPC, or not of its health; the message says how that showed."""


async def ask_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str) -> int:
    """What the server says of ``service``, or of itself when that is empty: a ``Health``. Raises NoAnswer, OSError."""
    writer.write(b"".join(_request(authority, service)))
    message = b""
    while True:
        head = await reader.readexactly(HEAD)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if length > LONGEST_FRAME:
            raise NoAnswer("this server does not speak HTTP/2")
        body = await reader.readexactly(length)
        if kind == DATA:
            message += body[1 : len(body) - body[0]] if flags & PADDED else body
            if (status := _status(message)) is not None:
                return status
        elif kind == HEADERS and flags & END_STREAM:
            raise NoAnswer("this server does not implement the grpc health protocol (grpc.health.v1.Health)")
        elif kind in (RESET, GO_AWAY):
            raise NoAnswer("this server refuses to answer")
        elif kind in (SETTINGS, PING) and not flags & ACKNOWLEDGED:
            writer.write(_frame(kind, ACKNOWLEDGED, b"" if kind == SETTINGS else body, 0))


def _request(authority: str, service: str) -> Iterator[bytes]:
    yield PREFACE
    yield _frame(SETTINGS, 0, b"", 0)
    headers = bytes((METHOD_POST, SCHEME_HTTP)) + _literal(PATH, CHECK) + _literal(AUTHORITY, authority)
    for name, value in (("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "kube-probe/1.37")):
        headers += bytes((NEW_NAME,)) + _text(name) + _text(value)
    yield _frame(HEADERS, END_HEADERS, headers, STREAM)
    name = service.encode()
    message = b"\x0a" + _number(len(name), 7) + name if name else b""
    yield _frame(DATA, END_STREAM, struct.pack(">BI", 0, len(message)) + message, STREAM)


def _frame(kind: int, flags: int, body: bytes, stream: int) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _literal(name: int, value: str) -> bytes:
    return bytes((name,)) + _text(value)


def _text(text: str) -> bytes:
    """HPACK's form of a text: a length of seven bits and more where they do not do, then the text as it is."""
    data = text.encode()
    most = (1 << 7) - 1
    if len(data) < most:
        return bytes((len(data),)) + data
    return bytes((most,)) + _number(len(data) - most, 7) + data


def _number(value: int, bits: int) -> bytes:
    """A number in groups of ``bits``, the lowest first; all but the last say that more follow."""
    found = bytearray()
    while value >> bits:
        found.append(value & ((1 << bits) - 1) | 1 << bits)
        value >>= bits
    return bytes((*found, value))


def _status(data: bytes) -> int | None:
    """The status in a message, None while it is not whole. Raises NoAnswer."""
    if len(data) < 5:
        return None
    compressed, length = struct.unpack(">BI", data[:5])
    if compressed:
        raise NoAnswer("its answer is compressed, which nobody has asked for")
    message = data[5 : 5 + length]
    if len(message) < length:
        return None
    return message[1] if message[:1] == b"\x08" and length > 1 else Health.UNKNOWN
