"""nftables: tables, chains, sets and rules as messages; a batch of them is carried out whole or not at all."""

import socket
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum

from ketch.local.network.netlink import ACK, CREATE, Message, attribute, nested, text

_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_IPV4 = 2
_JUMP = -3
_VERDICT_DATA = 0xFFFFFF00
_LIST_ELEMENT = 1
_LARGEST_LIST = 30_000
"""Bytes in one attribute of elements, whose own length field has 16 bits."""


class Kind(IntEnum):
    """What a message does."""

    NEW_TABLE = 0
    DELETE_TABLE = 2
    NEW_CHAIN = 3
    DELETE_CHAIN = 5
    NEW_RULE = 6
    DELETE_RULE = 8
    NEW_SET = 9
    NEW_ELEMENT = 12
    DELETE_ELEMENT = 14


class Hook(IntEnum):
    """Where a base chain sees packets."""

    PREROUTING = 0
    OUTPUT = 3
    POSTROUTING = 4


class Register(IntEnum):
    """Registers of the packet machine, in words of four bytes; ``VERDICT`` and ``WIDE`` are names of old."""

    VERDICT = 0
    WIDE = 1
    WORD0 = 8
    WORD1 = 9
    WORD2 = 10


class SetFlag(IntEnum):
    """What a set is."""

    ANONYMOUS = 0x1
    CONSTANT = 0x2
    MAP = 0x8


def _big(value: int) -> bytes:
    return struct.pack(">I", value & 0xFFFFFFFF)


def _message(kind: Kind, flags: int, attributes: Iterable[bytes]) -> Message:
    head = struct.pack(">BBH", _IPV4, 0, 0)
    return Message(_SUBSYSTEM | kind, flags, head + b"".join(attributes))


def batch(messages: Sequence[Message]) -> Sequence[Message]:
    """``messages`` as one transaction."""
    edge = struct.pack(">BBH", 0, 0, 10)
    last = messages[-1]._replace(flags=messages[-1].flags | ACK)
    return (Message(_BATCH_BEGIN, 0, edge), *messages[:-1], last, Message(_BATCH_END, 0, edge))


def new_table(table: str) -> Message:
    """Make the table, or do nothing where it stands."""
    return _message(Kind.NEW_TABLE, CREATE, (text(1, table),))


def delete_table(table: str) -> Message:
    """Remove the table and all that is in it."""
    return _message(Kind.DELETE_TABLE, 0, (text(1, table),))


def new_base_chain(table: str, name: str, hook: Hook, priority: int) -> Message:
    """A chain of type nat that sees packets at ``hook``."""
    at = nested(4, (attribute(1, _big(hook)), attribute(2, _big(priority))))
    return _message(Kind.NEW_CHAIN, CREATE, (text(1, table), text(3, name), at, text(7, "nat")))


def new_chain(table: str, name: str) -> Message:
    """A chain to jump to."""
    return _message(Kind.NEW_CHAIN, CREATE, (text(1, table), text(3, name)))


def delete_chain(table: str, name: str) -> Message:
    """Remove the chain with its rules; nothing may jump to it any more."""
    return _message(Kind.DELETE_CHAIN, 0, (text(1, table), text(3, name)))


def delete_rules(table: str, chain: str) -> Message:
    """Remove every rule of the chain."""
    return _message(Kind.DELETE_RULE, 0, (text(1, table), text(2, chain)))


def new_rule(table: str, chain: str, expressions: Iterable[bytes]) -> Message:
    """Append a rule to the chain."""
    return _message(Kind.NEW_RULE, CREATE | 0x800, (text(1, table), text(2, chain), nested(4, expressions)))


def new_set(table: str, name: str, number: int, key: int, *, value: int | None = None, flags: int = 0) -> Message:
    """A set of keys of ``key`` bytes; with ``value``, a map to that many bytes; to verdicts when ``value`` is 0.

    ``number`` names the set within its batch, where an anonymous one ("__map%d") has no other name yet.
    """
    attributes = [text(1, table), text(2, name), attribute(4, _big(0)), attribute(5, _big(key))]
    if value is not None:
        flags |= SetFlag.MAP
        attributes += [attribute(6, _big(0 if value else _VERDICT_DATA)), attribute(7, _big(value or 16))]
    return _message(Kind.NEW_SET, CREATE, (*attributes, attribute(3, _big(flags)), attribute(10, _big(number))))


def element(key: bytes, *, value: bytes | None = None, jump: str = "") -> bytes:
    """An element for ``elements``: a key, with what it maps to (bytes, or a chain to jump to)."""
    attributes = [nested(1, (attribute(1, key),))]
    if value is not None:
        attributes.append(nested(2, (attribute(1, value),)))
    if jump:
        verdict = nested(2, (attribute(1, _big(_JUMP)), text(2, jump)))
        attributes.append(nested(2, (verdict,)))
    return nested(_LIST_ELEMENT, attributes)


def elements(kind: Kind, table: str, name: str, number: int, items: Iterable[bytes]) -> Sequence[Message]:
    """Add or remove elements of a set, in as many messages as their number needs."""
    flags = CREATE if kind is Kind.NEW_ELEMENT else 0
    messages: list[Message] = []
    lists: list[list[bytes]] = [[]]
    size = 0
    for item in items:
        if size + len(item) > _LARGEST_LIST:
            lists.append([])
            size = 0
        lists[-1].append(item)
        size += len(item)
    for part in lists:
        if part:
            attributes = (text(1, table), text(2, name), attribute(4, _big(number)), nested(3, part))
            messages.append(_message(kind, flags, attributes))
    return messages


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, (text(1, name), nested(2, attributes)))


def load_payload(register: Register, base: int, offset: int, length: int) -> bytes:
    """Load bytes of the packet: ``base`` 1 is the network header, 2 the transport header."""
    values = (register, base, offset, length)
    return _expression("payload", *(attribute(index + 1, _big(value)) for index, value in enumerate(values)))


def load_protocol(register: Register) -> bytes:
    """Load the number of the transport protocol."""
    return _expression("meta", attribute(1, _big(register)), attribute(2, _big(16)))


def load_random(register: Register, below: int) -> bytes:
    """Load a random number, in the machine's byte order."""
    return _expression(
        "numgen", attribute(1, _big(register)), attribute(2, _big(below)), attribute(3, _big(1)), attribute(4, _big(0))
    )


def load_address(register: Register, address: str) -> bytes:
    """Load an address."""
    return _expression("immediate", attribute(1, _big(register)), nested(2, (attribute(1, socket.inet_aton(address)),)))


def look_up(name: str, number: int, source: Register, destination: Register | None = None) -> bytes:
    """Go on when the set has what stands in ``source``; a map's value goes to ``destination``."""
    attributes = [text(1, name), attribute(2, _big(source)), attribute(4, _big(number))]
    if destination is not None:
        attributes.append(attribute(3, _big(destination)))
    return _expression("lookup", *attributes)


def translate_destination(address: Register, port: Register) -> bytes:
    """Send the connection to another address and port."""
    return _expression(
        "nat", attribute(1, _big(1)), attribute(2, _big(_IPV4)), attribute(3, _big(address)), attribute(5, _big(port))
    )


def translate_source(address: Register) -> bytes:
    """Let the connection come from another address."""
    return _expression("nat", attribute(1, _big(0)), attribute(2, _big(_IPV4)), attribute(3, _big(address)))
