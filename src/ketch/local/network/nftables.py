"""nftables: tables, chains, sets and rules as messages; a batch of them is carried out whole or not at all."""

import socket
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum

from ketch.local.network.netlink import ACK, APPEND, CREATE, Message, attribute, nested, text

_SUBSYSTEM_NUMBER = 10
_SUBSYSTEM = _SUBSYSTEM_NUMBER << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_IPV4 = 2
_ACCEPT, _DROP, _JUMP = 1, 0, -3
_VERDICT_DATA, _VERDICT_LENGTH = 0xFFFFFF00, 16
_RANDOM = 1
_DESTINATION, _SOURCE = 1, 0
_LARGEST_LIST = 30_000
"""Bytes in one attribute of elements, whose own length field has 16 bits."""

# The numbers of attributes, by what they are attributes of.
_TABLE_NAME = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_TYPE = 1, 3, 4, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LENGTH = 1, 2, 3, 4, 5
_SET_DATA_TYPE, _SET_DATA_LENGTH, _SET_NUMBER = 6, 7, 10
_ELEMENTS_TABLE, _ELEMENTS_SET, _ELEMENTS_LIST, _ELEMENTS_SET_NUMBER = 1, 2, 3, 4
_ELEMENT_KEY, _ELEMENT_DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_LIST_ITEM = 1
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_PAYLOAD_REGISTER, _PAYLOAD_BASE, _PAYLOAD_OFFSET, _PAYLOAD_LENGTH = 1, 2, 3, 4
_META_REGISTER, _META_KEY = 1, 2
_META_PROTOCOL = 16
_NUMBER_REGISTER, _NUMBER_BELOW, _NUMBER_TYPE, _NUMBER_OFFSET = 1, 2, 3, 4
_IMMEDIATE_REGISTER, _IMMEDIATE_DATA = 1, 2
_LOOKUP_SET, _LOOKUP_SOURCE, _LOOKUP_DESTINATION, _LOOKUP_SET_NUMBER = 1, 2, 3, 4
_IMMEDIATE_VERDICT = 2
_COMPARE_REGISTER, _COMPARE_OPERATION, _COMPARE_DATA = 1, 2, 3
_BITWISE_SOURCE, _BITWISE_DESTINATION, _BITWISE_LENGTH, _BITWISE_MASK, _BITWISE_XOR = 1, 2, 3, 4, 5
_TRACKED_REGISTER, _TRACKED_KEY = 1, 2
_TRACKED_STATE = 0
_NAT_TYPE, _NAT_FAMILY, _NAT_ADDRESS, _NAT_PORT = 1, 2, 3, 5


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
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


class Register(IntEnum):
    """Registers of the packet machine, in words of four bytes; ``VERDICT`` and ``WIDE`` are names of old."""

    VERDICT = 0
    WIDE = 1
    WORD0 = 8
    WORD1 = 9
    WORD2 = 10


class Header(IntEnum):
    """Where offsets into the packet begin."""

    NETWORK = 1
    TRANSPORT = 2


class Comparison(IntEnum):
    """How a register is compared; numbers as the packet has them, the most significant byte first."""

    EQUAL = 0
    UNEQUAL = 1
    AT_MOST = 3
    AT_LEAST = 5


class SetFlag(IntEnum):
    """What a set is."""

    ANONYMOUS = 0x1
    CONSTANT = 0x2
    MAP = 0x8


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def _message(kind: Kind, flags: int, attributes: Iterable[bytes]) -> Message:
    head = struct.pack(">BBH", _IPV4, 0, 0)
    return Message(_SUBSYSTEM | kind, flags, head + b"".join(attributes))


def batch(messages: Sequence[Message]) -> Sequence[Message]:
    """``messages`` as one transaction."""
    edge = struct.pack(">BBH", 0, 0, _SUBSYSTEM_NUMBER)
    last = messages[-1]._replace(flags=messages[-1].flags | ACK)
    return (Message(_BATCH_BEGIN, 0, edge), *messages[:-1], last, Message(_BATCH_END, 0, edge))


def new_table(table: str) -> Message:
    """Make the table, or do nothing where it stands."""
    return _message(Kind.NEW_TABLE, CREATE, (text(_TABLE_NAME, table),))


def delete_table(table: str) -> Message:
    """Remove the table and all that is in it."""
    return _message(Kind.DELETE_TABLE, 0, (text(_TABLE_NAME, table),))


def new_base_chain(table: str, name: str, hook: Hook, priority: int, kind: str = "nat") -> Message:
    """A chain that sees packets at ``hook``: of type nat the first of each connection, of type filter all."""
    at = nested(_CHAIN_HOOK, (_number(_HOOK_NUMBER, hook), _number(_HOOK_PRIORITY, priority)))
    attributes = (text(_CHAIN_TABLE, table), text(_CHAIN_NAME, name), at, text(_CHAIN_TYPE, kind))
    return _message(Kind.NEW_CHAIN, CREATE, attributes)


def new_chain(table: str, name: str) -> Message:
    """A chain to jump to."""
    return _message(Kind.NEW_CHAIN, CREATE, (text(_CHAIN_TABLE, table), text(_CHAIN_NAME, name)))


def delete_chain(table: str, name: str) -> Message:
    """Remove the chain with its rules; nothing may jump to it any more."""
    return _message(Kind.DELETE_CHAIN, 0, (text(_CHAIN_TABLE, table), text(_CHAIN_NAME, name)))


def delete_rules(table: str, chain: str) -> Message:
    """Remove every rule of the chain."""
    return _message(Kind.DELETE_RULE, 0, (text(_RULE_TABLE, table), text(_RULE_CHAIN, chain)))


def new_rule(table: str, chain: str, expressions: Iterable[bytes]) -> Message:
    """Append a rule to the chain."""
    attributes = (text(_RULE_TABLE, table), text(_RULE_CHAIN, chain), nested(_RULE_EXPRESSIONS, expressions))
    return _message(Kind.NEW_RULE, CREATE | APPEND, attributes)


def new_set(table: str, name: str, number: int, key: int, *, value: int | None = None, flags: int = 0) -> Message:
    """A set of keys of ``key`` bytes; with ``value``, a map to that many bytes; to verdicts when ``value`` is 0.

    ``number`` names the set within its batch, where an anonymous one ("__map%d") has no other name yet.
    """
    attributes = [text(_SET_TABLE, table), text(_SET_NAME, name)]
    attributes += [_number(_SET_KEY_TYPE, 0), _number(_SET_KEY_LENGTH, key)]
    if value is not None:
        flags |= SetFlag.MAP
        attributes.append(_number(_SET_DATA_TYPE, 0 if value else _VERDICT_DATA))
        attributes.append(_number(_SET_DATA_LENGTH, value or _VERDICT_LENGTH))
    return _message(Kind.NEW_SET, CREATE, (*attributes, _number(_SET_FLAGS, flags), _number(_SET_NUMBER, number)))


def element(key: bytes, *, value: bytes | None = None, jump: str = "") -> bytes:
    """An element for ``elements``: a key, with what it maps to (bytes, or a chain to jump to)."""
    attributes = [nested(_ELEMENT_KEY, (attribute(_DATA_VALUE, key),))]
    if value is not None:
        attributes.append(nested(_ELEMENT_DATA, (attribute(_DATA_VALUE, value),)))
    if jump:
        verdict = nested(_DATA_VERDICT, (_number(_VERDICT_CODE, _JUMP), text(_VERDICT_CHAIN, jump)))
        attributes.append(nested(_ELEMENT_DATA, (verdict,)))
    return nested(_LIST_ITEM, attributes)


def elements(kind: Kind, table: str, name: str, number: int, items: Iterable[bytes]) -> Sequence[Message]:
    """Add or remove elements of a set, in as many messages as their number needs."""
    flags = CREATE if kind is Kind.NEW_ELEMENT else 0
    lists: list[list[bytes]] = [[]]
    size = 0
    for item in items:
        if size + len(item) > _LARGEST_LIST:
            lists.append([])
            size = 0
        lists[-1].append(item)
        size += len(item)
    head = (text(_ELEMENTS_TABLE, table), text(_ELEMENTS_SET, name), _number(_ELEMENTS_SET_NUMBER, number))
    return [_message(kind, flags, (*head, nested(_ELEMENTS_LIST, part))) for part in lists if part]


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(_LIST_ITEM, (text(_EXPRESSION_NAME, name), nested(_EXPRESSION_DATA, attributes)))


def load_payload(register: Register, header: Header, offset: int, length: int) -> bytes:
    """Load bytes of the packet."""
    return _expression(
        "payload",
        _number(_PAYLOAD_REGISTER, register),
        _number(_PAYLOAD_BASE, header),
        _number(_PAYLOAD_OFFSET, offset),
        _number(_PAYLOAD_LENGTH, length),
    )


def load_protocol(register: Register) -> bytes:
    """Load the number of the transport protocol."""
    return _expression("meta", _number(_META_REGISTER, register), _number(_META_KEY, _META_PROTOCOL))


def load_random(register: Register, below: int) -> bytes:
    """Load a random number, in the machine's byte order."""
    return _expression(
        "numgen",
        _number(_NUMBER_REGISTER, register),
        _number(_NUMBER_BELOW, below),
        _number(_NUMBER_TYPE, _RANDOM),
        _number(_NUMBER_OFFSET, 0),
    )


def load_address(register: Register, address: str) -> bytes:
    """Load an address."""
    data = nested(_IMMEDIATE_DATA, (attribute(_DATA_VALUE, socket.inet_aton(address)),))
    return _expression("immediate", _number(_IMMEDIATE_REGISTER, register), data)


def load_connection_state(register: Register) -> bytes:
    """Load what is known of the packet's connection, as bits in the machine's byte order."""
    return _expression("ct", _number(_TRACKED_REGISTER, register), _number(_TRACKED_KEY, _TRACKED_STATE))


def mask(register: Register, bits: bytes) -> bytes:
    """Leave of a register only those bits."""
    return _expression(
        "bitwise",
        _number(_BITWISE_SOURCE, register),
        _number(_BITWISE_DESTINATION, register),
        _number(_BITWISE_LENGTH, len(bits)),
        nested(_BITWISE_MASK, (attribute(_DATA_VALUE, bits),)),
        nested(_BITWISE_XOR, (attribute(_DATA_VALUE, bytes(len(bits))),)),
    )


def compare(register: Register, how: Comparison, value: bytes) -> bytes:
    """Go on when the register compares so."""
    data = nested(_COMPARE_DATA, (attribute(_DATA_VALUE, value),))
    return _expression("cmp", _number(_COMPARE_REGISTER, register), _number(_COMPARE_OPERATION, how), data)


def _verdict(code: int, *chain: bytes) -> bytes:
    data = nested(_IMMEDIATE_DATA, (nested(_IMMEDIATE_VERDICT, (_number(_VERDICT_CODE, code), *chain)),))
    return _expression("immediate", _number(_IMMEDIATE_REGISTER, Register.VERDICT), data)


def accept() -> bytes:
    """Let the packet through, as far as this hook's chain of this priority is asked."""
    return _verdict(_ACCEPT)


def drop() -> bytes:
    """Let nobody hear of the packet."""
    return _verdict(_DROP)


def jump(chain: str) -> bytes:
    """Go on in another chain, and here when it has no verdict."""
    return _verdict(_JUMP, text(_VERDICT_CHAIN, chain))


def look_up(name: str, number: int, source: Register, destination: Register | None = None) -> bytes:
    """Go on when the set has what stands in ``source``; a map's value goes to ``destination``."""
    attributes = [text(_LOOKUP_SET, name), _number(_LOOKUP_SOURCE, source), _number(_LOOKUP_SET_NUMBER, number)]
    if destination is not None:
        attributes.append(_number(_LOOKUP_DESTINATION, destination))
    return _expression("lookup", *attributes)


def _translate(kind: int, *attributes: bytes) -> bytes:
    return _expression("nat", _number(_NAT_TYPE, kind), _number(_NAT_FAMILY, _IPV4), *attributes)


def translate_destination(address: Register, port: Register) -> bytes:
    """Send the connection to another address and port."""
    return _translate(_DESTINATION, _number(_NAT_ADDRESS, address), _number(_NAT_PORT, port))


def translate_source(address: Register) -> bytes:
    """Let the connection come from another address."""
    return _translate(_SOURCE, _number(_NAT_ADDRESS, address))
