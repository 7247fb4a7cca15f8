"""How much of a log is kept, and where."""

import pytest

from ketch.pipelines.logs.archive import shortened


async def chunks(*parts: bytes):
    for part in parts:
        yield part


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ((), b""),
        ((b"abc",), b"abc"),
        ((b"abcdefgh",), b"abcdefgh"),
        ((b"ab", b"cdef", b"gh"), b"abcdefgh"),
        ((b"abcd", b"", b"efgh"), b"abcdefgh"),
        ((b"abcdefghi",), b"abc\n[... 1 bytes of the log were not kept ...]\nefghi"),
        (
            (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j"),
            b"abc\n[... 2 bytes of the log were not kept ...]\nfghij",
        ),
        ((b"abcdef", b"0123456789"), b"abc\n[... 8 bytes of the log were not kept ...]\n56789"),
    ],
)
async def test_the_beginning_and_the_end_of_a_long_log_are_kept(parts: tuple[bytes, ...], kept: bytes):
    assert await shortened(chunks(*parts), head=3, tail=5) == kept


async def test_a_log_without_end_takes_no_more_memory():
    async def endless():
        for number in range(3000):
            yield number.to_bytes(2, "big") * 512

    content = await shortened(endless(), head=1000, tail=5000)
    assert len(content) < 6100
    assert content.endswith((2999).to_bytes(2, "big") * 512)
