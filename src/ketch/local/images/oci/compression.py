"""Layers as streams of bytes, whatever compressed them; and the digest of what comes out."""

import hashlib
import io
import sys
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from ketch.local.images.oci.errors import LayerInvalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"
"""Behind the first byte of a zstd frame that carries no content; such frames may come first."""

CHUNK = 1 << 18
MAGIC = 4


class _Gzip:
    """One member of a gzip stream."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def parts(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` holds, in parts of bounded size."""
        while data and not self._member.eof:
            yield self._member.decompress(data, CHUNK)
            data = self._member.unconsumed_tail

    @property
    def rest(self) -> bytes | None:
        """What came behind the member's end; None before it."""
        return self._member.unused_data if self._member.eof else None


class _Zstandard:
    """One frame of a zstd stream."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    def parts(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` holds, in parts of bounded size."""
        yield self._frame.decompress(data, CHUNK)
        while not self._frame.eof and not self._frame.needs_input:
            yield self._frame.decompress(b"", CHUNK)

    @property
    def rest(self) -> bytes | None:
        """What came behind the frame's end; None before it."""
        return self._frame.unused_data if self._frame.eof else None


def _chunks(source: BinaryIO, first: bytes) -> Iterator[bytes]:
    if first:
        yield first
    while data := source.read(CHUNK):
        yield data


def _decompressed(source: BinaryIO, first: bytes) -> Iterator[bytes]:
    """What a stream of one or more compressed members holds. Raises LayerInvalid where it ends too early."""
    make = _Gzip if first.startswith(GZIP) else _Zstandard
    current: _Gzip | _Zstandard | None = None
    try:
        for chunk in _chunks(source, first):
            data: bytes | None = chunk
            while data:
                if current is None:
                    if not data.strip(b"\0"):
                        break  # padding
                    current = make()
                yield from filter(None, current.parts(data))
                data = current.rest
                if data is not None:
                    current = None
    except (zlib.error, zstd.ZstdError) as error:
        raise LayerInvalid(f"the compressed data is damaged: {error}") from error
    if current is not None:
        raise LayerInvalid("the compressed data ends in the middle")


class Content(io.RawIOBase):
    """The uncompressed content of a stream: gzip, zstd, or none of both. Its digest is known when it was read whole."""

    def __init__(self, source: BinaryIO, algorithm: str = "sha256") -> None:
        first = source.read(MAGIC)
        compressed = first.startswith((GZIP, ZSTD)) or (first[1:] == SKIPPABLE and first[0] >> 4 == 5)
        self._parts = _decompressed(source, first) if compressed else _chunks(source, first)
        self._left = memoryview(b"")
        self._hash = hashlib.new(algorithm)
        self._algorithm = algorithm
        self.size = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As any stream."""
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._hash.update(part)
            self.size += len(part)
            self._left = memoryview(part)
        amount = min(len(buffer), len(self._left))
        buffer[:amount] = self._left[:amount]
        self._left = self._left[amount:]
        return amount

    def drain(self) -> None:
        """Read what is left, which counts for the digest."""
        space = bytearray(CHUNK)
        while self.readinto(space):
            pass

    @property
    def digest(self) -> str:
        """Of all that was read."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"
