"""DNS messages: reading a query, writing its answer. Pure."""

import ipaddress
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct(">HHHHHH")
LARGEST_UDP = 512
_LARGEST_OFFERED = 4096
_LONGEST_NAME = 255
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_WANTED, _RECURSION_HAD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_INTERNET = 1
_POINTER = 0xC0
_OPT = 41


class QueryType(IntEnum):
    """The types of records that are answered."""

    A = 1
    SOA = 6
    PTR = 12
    AAAA = 28
    ANY = 255


class Code(IntEnum):
    """Response codes."""

    OK = 0
    FORMAT_ERROR = 1
    SERVER_FAILURE = 2
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


class MalformedQuery(Exception):
    """The packet is no query that can be answered other than by ``code``; None: not even that."""

    def __init__(self, code: Code | None) -> None:
        super().__init__(code)
        self.code = code


class Query(NamedTuple):
    """A question. ``question`` is its text on the wire, repeated in the answer; ``room`` bytes fit in an answer."""

    identity: int
    flags: int
    question: bytes
    name: str
    kind: int
    room: int
    extended: bool


class Answer(NamedTuple):
    """What is known: a code, and values of the asked type (addresses, or names for PTR)."""

    code: Code
    values: Sequence[str] = ()
    seconds: int = 5
    authoritative: bool = True


def _read_name(packet: bytes, offset: int) -> tuple[str, int]:
    labels: list[str] = []
    start = offset
    while True:
        if offset >= len(packet) or offset - start > _LONGEST_NAME:
            raise MalformedQuery(Code.FORMAT_ERROR)
        size = packet[offset]
        if size >= _POINTER or size + offset >= len(packet):
            raise MalformedQuery(Code.FORMAT_ERROR)  # questions have nothing before them to point to
        offset += 1
        if size == 0:
            return ".".join(labels).lower(), offset
        labels.append(packet[offset : offset + size].decode("latin-1"))
        offset += size


def _offered_room(packet: bytes, offset: int, additional: int) -> int | None:
    """The size of answers that an OPT record right behind the question offers to take."""
    if not additional or len(packet) < offset + 11 or packet[offset] != 0:
        return None
    kind, size = struct.unpack_from(">HH", packet, offset + 1)
    return max(LARGEST_UDP, min(size, _LARGEST_OFFERED)) if kind == _OPT else None


def read_query(packet: bytes) -> Query:
    """The question in ``packet``. Raises MalformedQuery."""
    if len(packet) < HEADER.size:
        raise MalformedQuery(None)
    identity, flags, questions, answers, authorities, additional = HEADER.unpack_from(packet)
    if flags & _RESPONSE:
        raise MalformedQuery(None)
    if flags & _OPCODE:
        raise MalformedQuery(Code.NOT_IMPLEMENTED)
    if questions != 1 or answers or authorities:
        raise MalformedQuery(Code.FORMAT_ERROR)
    name, end = _read_name(packet, HEADER.size)
    if len(packet) < end + 4:
        raise MalformedQuery(Code.FORMAT_ERROR)
    kind, group = struct.unpack_from(">HH", packet, end)
    if group != _INTERNET:
        raise MalformedQuery(Code.REFUSED)
    room = _offered_room(packet, end + 4, additional)
    question = packet[HEADER.size : end + 4]
    return Query(identity, flags, question, name, kind, room or LARGEST_UDP, room is not None)


def write_error(packet: bytes, code: Code) -> bytes:
    """The answer to a query that could not be read further than its header."""
    identity, flags = struct.unpack_from(">HH", packet)
    kept = flags & (_OPCODE | _RECURSION_WANTED)
    return HEADER.pack(identity, _RESPONSE | _RECURSION_HAD | kept | code, 0, 0, 0, 0)


def encode_name(name: str) -> bytes:
    """A name on the wire."""
    labels = [label.encode("latin-1") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _record(kind: int, value: str, seconds: int) -> bytes:
    data = encode_name(value) if kind == QueryType.PTR else ipaddress.ip_address(value).packed
    # Its name is a pointer to the question's.
    return struct.pack(">HHHIH", 0xC000 | HEADER.size, kind, _INTERNET, seconds, len(data)) + data


def _start_of_authority(domain: str, seconds: int) -> bytes:
    data = encode_name(f"ns.dns.{domain}") + encode_name(f"hostmaster.{domain}")
    data += struct.pack(">IIIII", 1, 7200, 1800, 86400, seconds)
    head = struct.pack(">HHIH", QueryType.SOA, _INTERNET, seconds, len(data))
    return encode_name(domain) + head + data


def write_answer(query: Query, answer: Answer, *, domain: str, stream: bool = False) -> bytes:
    """The answer on the wire; what finds no room in a packet is cut off, and said to be, unless in a ``stream``."""
    flags = _RESPONSE | _RECURSION_HAD | (query.flags & _RECURSION_WANTED) | answer.code
    if answer.authoritative:
        flags |= _AUTHORITATIVE
    kind = QueryType.A if query.kind == QueryType.ANY else query.kind
    records = [_record(kind, value, answer.seconds) for value in answer.values]
    option = b"\0" + struct.pack(">HHIH", _OPT, _LARGEST_OFFERED, 0, 0) if query.extended else b""
    # Resolvers keep "there is none" for as long as the zone's authority record says.
    absent = answer.authoritative and not records and answer.code in (Code.OK, Code.NAME_ERROR)
    authority = _start_of_authority(domain, answer.seconds) if absent else b""
    room = query.room - HEADER.size - len(query.question) - len(option) - len(authority)
    size = sum(map(len, records))
    if not stream and size > room:
        flags |= _TRUNCATED
        while size > room:
            size -= len(records.pop())
    counts = (1, len(records), 1 if authority else 0, 1 if option else 0)
    head = HEADER.pack(query.identity, flags, *counts)
    return head + query.question + b"".join(records) + authority + option
