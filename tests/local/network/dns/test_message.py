"""DNS on the wire."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.local.network.dns.message import (
    HEADER,
    Answer,
    Code,
    MalformedQuery,
    QueryType,
    encode_name,
    read_query,
    write_answer,
    write_error,
)


def a_query(name: str = "web.default.svc.cluster.local", kind: int = QueryType.A, *, room: int | None = None) -> bytes:
    extra = b"" if room is None else b"\0" + struct.pack(">HHIH", 41, room, 0, 0)
    head = HEADER.pack(7, 0x0100, 1, 0, 0, 1 if extra else 0)
    return head + encode_name(name) + struct.pack(">HH", kind, 1) + extra


@settings(database=None)
@given(st.binary(max_size=600))
def test_random_bytes_are_a_query_or_malformed(packet):
    try:
        query = read_query(packet)
    except MalformedQuery as malformed:
        if malformed.code is not None:
            assert write_error(packet, malformed.code)[:2] == packet[:2]  # noqa: PT017  # both outcomes are right
    else:
        assert write_answer(query, Answer(Code.OK), domain="cluster.local")[:2] == packet[:2]


@settings(database=None)
@given(st.binary(max_size=300))
def test_random_bytes_behind_a_header_are_a_query_or_malformed(rest):
    packet = HEADER.pack(1, 0x0100, 1, 0, 0, 1) + rest
    try:
        query = read_query(packet)
    except MalformedQuery as malformed:
        assert malformed.code is not None  # noqa: PT017  # both outcomes are right
    else:
        answer = Answer(Code.OK, ("10.0.0.1",)) if query.kind == QueryType.A else Answer(Code.OK)
        assert len(write_answer(query, answer, domain="cluster.local")) <= max(query.room, 512 + len(query.question))


def test_a_query_is_read():
    query = read_query(a_query("Web.Default.svc.cluster.local"))
    assert (query.identity, query.name, query.kind, query.room) == (7, "web.default.svc.cluster.local", 1, 512)
    assert read_query(a_query(room=1232)).room == 1232


def test_an_answer_repeats_the_question_and_lists_addresses():
    query = read_query(a_query())
    answer = write_answer(query, Answer(Code.OK, ("10.96.1.2", "10.96.1.3")), domain="cluster.local")
    identity, flags, questions, answers, authorities, additional = HEADER.unpack_from(answer)
    assert (identity, questions, answers, authorities, additional) == (7, 1, 2, 0, 0)
    assert flags == 0x8000 | 0x0400 | 0x0100 | 0x0080
    records = answer[HEADER.size + len(query.question) :]
    assert records[:16] == b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + bytes((10, 96, 1, 2))


@pytest.mark.parametrize("code", [Code.OK, Code.NAME_ERROR], ids=["no such record", "no such name"])
def test_absence_carries_the_zones_authority(code):
    answer = write_answer(read_query(a_query()), Answer(code), domain="cluster.local")
    _, flags, _, answers, authorities, _ = HEADER.unpack_from(answer)
    assert (flags & 0xF, answers, authorities) == (code, 0, 1)


def test_too_many_addresses_are_cut_off_in_packets_alone():
    query = read_query(a_query(room=600))
    many = Answer(Code.OK, tuple(f"10.244.1.{number}" for number in range(200)))
    packet = write_answer(query, many, domain="cluster.local")
    assert len(packet) <= 600
    assert HEADER.unpack_from(packet)[1] & 0x0200
    stream = write_answer(query, many, domain="cluster.local", stream=True)
    assert HEADER.unpack_from(stream)[3] == 200
    assert not HEADER.unpack_from(stream)[1] & 0x0200


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        pytest.param(b"short", None, id="shorter than a header"),
        pytest.param(HEADER.pack(1, 0x8000, 1, 0, 0, 0), None, id="an answer"),
        pytest.param(HEADER.pack(1, 0x2800, 1, 0, 0, 0), Code.NOT_IMPLEMENTED, id="an update"),
        pytest.param(HEADER.pack(1, 0, 2, 0, 0, 0), Code.FORMAT_ERROR, id="two questions"),
        pytest.param(HEADER.pack(1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", Code.FORMAT_ERROR, id="a pointer to itself"),
        pytest.param(a_query()[:-1], Code.FORMAT_ERROR, id="cut off"),
        pytest.param(a_query()[:-2] + b"\0\3", Code.REFUSED, id="not of the Internet"),
    ],
)
def test_what_is_no_query_says_so(packet, code):
    with pytest.raises(MalformedQuery) as caught:
        read_query(packet)
    assert caught.value.code == code
