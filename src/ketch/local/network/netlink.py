"""Netlink: requests to the kernel's network configuration, and its answers."""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
REQUEST, ACK, EXCLUSIVE, CREATE, APPEND = 0x1, 0x4, 0x200, 0x400, 0x800

_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_NESTED = 0x8000
_ERROR = 2
_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_BUFFER, _OVERHEAD = 64 << 20, 512


class Message(NamedTuple):
    """One request: its type, flags and body."""

    kind: int
    flags: int
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded as the protocol wants it."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def nested(kind: int, attributes: Iterable[bytes]) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a terminated string."""
    return attribute(kind, value.encode() + b"\0")


def size_of(messages: Iterable[Message]) -> int:
    """Bytes that the messages take in a packet."""
    return sum(_HEADER.size + len(message.body) + 3 for message in messages)


class Netlink:
    """A netlink socket; it speaks to the namespace of the thread that made it, whoever uses it later."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        for forced, option in ((_SO_SNDBUFFORCE, socket.SO_SNDBUF), (_SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except PermissionError:  # for the machine's root alone
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        self.room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - _OVERHEAD
        """Bytes that one packet may have."""
        self._sequence = 0

    def send(self, messages: Sequence[Message]) -> None:
        """Have the kernel carry out ``messages`` in their order. Raises OSError with the first error it reports.

        The kernel works while the message is being sent: all its answers are there when ``send`` returns.
        """
        packet = bytearray()
        for message in messages:
            self._sequence += 1
            size = _HEADER.size + len(message.body)
            packet += _HEADER.pack(size, message.kind, message.flags | REQUEST, self._sequence, 0)
            packet += message.body + b"\0" * (-size % 4)
        first = self._sequence - len(messages) + 1
        self._socket.sendto(packet, (0, 0))
        failed: list[tuple[int, int]] = []
        while answer := self._receive():
            failed += _errors(answer)
        if failed:
            sequence, number = failed[0]
            index = sequence - first
            what = f"request {index} (type {messages[index].kind:#x})" if 0 <= index < len(messages) else "a request"
            raise OSError(number, f"the kernel refuses {what}: {os.strerror(number)}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""


def _errors(answer: bytes) -> list[tuple[int, int]]:
    """The errors in an answer: sequence number of the request, and errno."""
    errors: list[tuple[int, int]] = []
    offset = 0
    while offset + _HEADER.size <= len(answer):
        size, kind, _, sequence, _ = _HEADER.unpack_from(answer, offset)
        if kind == _ERROR:
            (code,) = struct.unpack_from("=i", answer, offset + _HEADER.size)
            if code:
                errors.append((sequence, -code if code < 0 else errno.EIO))
        offset += (size + 3) & ~3 or len(answer)
    return errors
