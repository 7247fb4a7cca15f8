"""Where a server's WebSocket frames end.

Each frame is given to TLS by itself, as servers that write frame by frame do: clients exist that look at their socket,
where nothing is left to see when one TLS record brought two frames.
"""

from collections.abc import Iterator

SHORTEST_HEAD = 2
MASKED, LENGTH = 0x80, 0x7F
EXTENDED = {126: 2, 127: 8}
"""How many bytes tell the length where the second byte cannot."""


class Frames:
    """Cuts a stream at its frames' ends, as they come: no byte is held back but those of an unfinished head."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def cut(self, data: bytes) -> Iterator[bytes]:
        """Pieces of the stream, none of which holds parts of two frames."""
        data, self._head = self._head + data, b""
        while data:
            if not self._left:
                size = self._size(data)
                if size is None:
                    self._head = data
                    return
                self._left = size
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            yield piece

    @staticmethod
    def _size(data: bytes) -> int | None:
        """Bytes of the frame that begins here; None when too little of it is there to know."""
        if len(data) < SHORTEST_HEAD:
            return None
        length, extended = data[1] & LENGTH, EXTENDED.get(data[1] & LENGTH, 0)
        begin = SHORTEST_HEAD + extended
        if len(data) < begin:
            return None
        if extended:
            length = int.from_bytes(data[SHORTEST_HEAD:begin], "big")
        return begin + (4 if data[1] & MASKED else 0) + length
