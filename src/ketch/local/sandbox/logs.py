"""A container's log: CRI's line format, rotated by size.

Each line is ``<RFC 3339 time with nanoseconds> <stdout|stderr> <F|P> <text>``. P: the line goes on in the stream's next
entry, because it is longer than one entry may be.
"""

import os
import time

LONGEST_LINE = 16 << 10
"""Bytes of text that one entry holds, as with containerd."""

ROTATE_AT, KEPT = 10 << 20, 3
"""A file is rotated when it has this many bytes; this many files exist at most (``log``, ``log.1``, ``log.2``)."""


class Log:
    """Writes what the container's streams say. A full disk loses text, never the container."""

    def __init__(self, path: str, rotate_at: int = ROTATE_AT, kept: int = KEPT) -> None:
        self._path = path
        self._rotate_at = rotate_at
        self._kept = kept
        self._second, self._stamp = -1, b""
        self._rests = {b"stdout": b"", b"stderr": b""}
        os.makedirs(path.rpartition("/")[0], mode=0o700, exist_ok=True)  # noqa: PTH103
        self._open()

    def write(self, stream: bytes, data: bytes) -> None:
        """Take what was read from ``stream``: its whole lines are written, the rest waits for its end."""
        lines = data.split(b"\n")
        lines[0] = self._rests[stream] + lines[0]
        rest = lines.pop()
        head = self._time() + b" " + stream
        text = b""
        if lines:
            if max(map(len, lines)) <= LONGEST_LINE:
                full = head + b" F "
                text = full + (b"\n" + full).join(lines) + b"\n"
            else:
                text = b"".join(self._entries(head, line) for line in lines)
        while len(rest) >= LONGEST_LINE:
            text += head + b" P " + rest[:LONGEST_LINE] + b"\n"
            rest = rest[LONGEST_LINE:]
        self._rests[stream] = rest
        if text:
            self._append(text)

    def close(self) -> None:
        """Write what the streams left unfinished."""
        for stream, rest in self._rests.items():
            if rest:
                self._append(self._entries(self._time() + b" " + stream, rest))
                self._rests[stream] = b""
        os.close(self._file)

    @staticmethod
    def _entries(head: bytes, line: bytes) -> bytes:
        entries: list[bytes] = []
        while len(line) > LONGEST_LINE:
            entries += head, b" P ", line[:LONGEST_LINE], b"\n"
            line = line[LONGEST_LINE:]
        entries += head, b" F ", line, b"\n"
        return b"".join(entries)

    def _time(self) -> bytes:
        second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
        return self._stamp + b"%09dZ" % nanosecond

    def _append(self, text: bytes) -> None:
        try:
            if self._size and self._size + len(text) > self._rotate_at:
                self._rotate()
            view = memoryview(text)
            while view:
                written = os.write(self._file, view)
                self._size += written
                view = view[written:]
        except OSError:
            return

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            try:
                os.rename(older, f"{self._path}.{number}")  # noqa: PTH104
            except FileNotFoundError:
                continue
        os.close(self._file)
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size
