"""SPDY/3.1 as far as port-forwarding clients speak it, on the server's side. Pure: bytes in, frames out, and back.

Frames begin with 8 bytes: a stream's number, or version and type with the first bit set; flags; the length of what
follows. Headers are compressed by zlib with a dictionary that both sides know, all of a session's together.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

HEAD = 8
CONTROL, VERSION = 0x8000, 3
SYN_STREAM, SYN_REPLY, RST_STREAM, PING = 1, 2, 3, 6
BEFORE_HEADERS = 10
"""Bytes in SYN_STREAM that say which stream, below which other, and how urgent."""

FIN = 0x01
REFUSED, PROTOCOL_ERROR = 3, 1
"""Why a stream is reset."""

STREAM_NUMBER = 0x7FFFFFFF
LONGEST_HEADERS = 1 << 16

_WORDS = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,accept-ranges,age,"
    "allow,authorization,cache-control,connection,content-base,content-encoding,content-language,content-length,"
    "content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match,"
    "if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,"
    "proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,"
    "upgrade,user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,"
    "set-cookie,keep-alive,origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(len(word).to_bytes(4, "big") + word.encode() for word in _WORDS.split(",")) + _TEXT.encode()
"""SPDY/3's own: draft-mbelshe-httpbis-spdy, section 2.6.10.1."""


class Malformed(Exception):
    """The bytes are no SPDY/3.1, or more of it than anybody needs."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opened a stream."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    last: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes on a stream; nothing follows the ``last``."""

    stream: int
    data: bytes
    last: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream was given up."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Wants to come back."""

    number: int


Frame = Opened | Data | Reset | Ping


class Decoder:
    """What the client says."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._headers = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Whole frames; what matters to nobody here is left out. Raises Malformed."""
        self._rest += data
        while len(self._rest) >= HEAD:
            length = int.from_bytes(self._rest[5:HEAD], "big")
            if len(self._rest) < HEAD + length:
                return
            head, body = bytes(self._rest[:HEAD]), bytes(self._rest[HEAD : HEAD + length])
            del self._rest[: HEAD + length]
            if (frame := self._frame(head, body)) is not None:
                yield frame

    def _frame(self, head: bytes, body: bytes) -> Frame | None:
        first, last = int.from_bytes(head[:2], "big"), bool(head[4] & FIN)
        if not first & CONTROL:
            return Data(int.from_bytes(head[:4], "big"), body, last)
        if first & ~CONTROL != VERSION:
            raise Malformed(f"SPDY version {first & ~CONTROL} is not spoken here")
        number = int.from_bytes(body[:4], "big")
        kind = int.from_bytes(head[2:4], "big")
        if kind == SYN_STREAM:
            return Opened(number & STREAM_NUMBER, self._decoded(body[BEFORE_HEADERS:]), last)
        if kind == RST_STREAM:
            return Reset(number & STREAM_NUMBER)
        return Ping(number) if kind == PING else None

    def _decoded(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._headers.decompress(block, LONGEST_HEADERS)
        except zlib.error as error:
            raise Malformed(f"headers: {error}") from error
        if self._headers.unconsumed_tail:
            raise Malformed("headers: too long")
        words: list[str] = []
        position = 4
        while position < len(plain):
            end = position + 4 + int.from_bytes(plain[position : position + 4], "big")
            words.append(plain[position + 4 : end].decode("latin-1"))
            position = end
        return dict(zip(words[::2], words[1::2], strict=False))


class Encoder:
    """What the server says."""

    def __init__(self) -> None:
        self._headers = zlib.compressobj(zdict=DICTIONARY)

    def accepted(self, stream: int) -> bytes:
        """Yes to a stream that the client opened."""
        block = self._headers.compress(bytes(4)) + self._headers.flush(zlib.Z_SYNC_FLUSH)
        return _control(SYN_REPLY, stream.to_bytes(4, "big") + block)

    @staticmethod
    def data(stream: int, data: bytes, *, last: bool = False) -> bytes:
        """Bytes on a stream."""
        flags = FIN if last else 0
        return stream.to_bytes(4, "big") + bytes((flags,)) + len(data).to_bytes(3, "big") + data

    @staticmethod
    def reset(stream: int, why: int) -> bytes:
        """A stream is given up."""
        return _control(RST_STREAM, stream.to_bytes(4, "big") + why.to_bytes(4, "big"))

    @staticmethod
    def ping(number: int) -> bytes:
        """A ping's way back."""
        return _control(PING, number.to_bytes(4, "big"))


def _control(kind: int, body: bytes) -> bytes:
    return (CONTROL | VERSION).to_bytes(2, "big") + kind.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body
