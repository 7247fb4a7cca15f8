"""Containers' logs as the API gives them: CRI entries become text, from the end or from a time on, followed to the end.

A log is the file and the rotated ones before it (``log``, ``log.1``, ``log.2``: newest first).
"""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ketch.kube.clock import Clock

BLOCK = 1 << 16
LOOK_AGAIN = 0.05
"""Seconds between two looks at a log that somebody follows."""

_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T", ""})
"""As clients write it: Python's says ``True``."""


@dataclass(frozen=True)
class LogOptions:
    """The parameters of ``GET .../log``."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


def parse_options(query: dict[str, str], now: datetime) -> LogOptions:
    """The options of a request. Raises ValueError, which names the parameter."""

    def number(name: str, least: int) -> int | None:
        text = query.get(name)
        if not text:
            return None
        if not text.isdigit() or int(text) < least:
            raise ValueError(f'{name}: Invalid value: "{text}": must be a number not less than {least}')
        return int(text)

    since = None
    if seconds := number("sinceSeconds", 1):
        since = now - timedelta(seconds=seconds)
    elif text := query.get("sinceTime"):
        try:
            since = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f'sinceTime: Invalid value: "{text}": must be a time such as 2026-01-01T00:00:00Z'
            ) from None
    return LogOptions(
        follow=query.get("follow", "false") in _TRUE,
        tail_lines=number("tailLines", 0),
        since=since,
        timestamps=query.get("timestamps", "false") in _TRUE,
        limit_bytes=number("limitBytes", 1),
    )


def files_of(log: Path) -> list[Path]:
    """The files of a log, oldest first."""
    found = [log]
    while (older := log.with_name(f"{log.name}.{len(found)}")).exists():
        found.append(older)
    return [path for path in reversed(found) if path.exists()]


def _entry_text(entry: bytes, options: LogOptions) -> bytes | None:
    """One CRI entry as text; None when it is older than asked for."""
    stamp, _, rest = entry.partition(b" ")
    _, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if options.since is not None and _older(stamp, options.since):
        return None
    line = text if tag == b"P" else text + b"\n"
    return stamp + b" " + line if options.timestamps else line


def _older(stamp: bytes, moment: datetime) -> bool:
    try:  # nanoseconds are more than datetime takes
        return datetime.fromisoformat(f"{stamp[:26].decode()}+00:00") < moment
    except ValueError:
        return False


def _last_entries(log: Path, count: int) -> list[bytes]:
    """The last ``count`` whole lines (their entries), read from the end."""
    entries: list[bytes] = []
    lines = 0
    for path in reversed(files_of(log)):
        for entry in _backwards(path):
            if b" P " not in entry[:64]:
                lines += 1
                if lines > count:
                    return entries[::-1]
            entries.append(entry)
    return entries[::-1]


def _backwards(path: Path) -> Iterator[bytes]:
    """The lines of a file, last one first."""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        rest = b""
        while position > 0:
            size = min(BLOCK, position)
            position -= size
            file.seek(position)
            first, *lines = (file.read(size) + rest).split(b"\n")
            rest = first
            for line in reversed(lines):
                if line:
                    yield line
        if rest:
            yield rest


def tail_text(log: Path, lines: int) -> str:
    """The last lines of a log."""
    texts = (_entry_text(entry, LogOptions()) for entry in _last_entries(log, lines))
    return b"".join(text for text in texts if text).decode(errors="replace")


class _Reader:
    """Reads a growing log from where it stands, across rotations."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._file = log.open("rb") if log.exists() else None
        self._rest = b""

    def at_end(self) -> "_Reader":
        """Begin behind what is there already."""
        if self._file is not None:
            self._file.seek(0, 2)
        return self

    def entries(self) -> Iterator[bytes]:
        """Whole entries that came since the last call."""
        while True:
            if self._file is None and self._log.exists():
                self._file = self._log.open("rb")
            if self._file is None:
                return
            while block := self._file.read(BLOCK):
                *whole, self._rest = (self._rest + block).split(b"\n")
                yield from whole
            if not self._rotated():
                return
            self._file.close()
            self._file = None

    def _rotated(self) -> bool:
        assert self._file is not None
        try:
            return self._log.stat().st_ino != Path(f"/proc/self/fd/{self._file.fileno()}").stat().st_ino
        except OSError:
            return False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


async def read_log(log: Path, options: LogOptions, running: Callable[[], bool], clock: Clock) -> AsyncIterator[bytes]:
    """The log's text in chunks; with ``follow``, until the container has ended and all of it was read."""
    budget = options.limit_bytes
    async for chunk in _texts(log, options, running, clock):
        if budget is None:
            yield chunk
            continue
        if chunk[:budget]:
            yield chunk[:budget]
        budget -= len(chunk)
        if budget <= 0:
            return


async def _texts(log: Path, options: LogOptions, running: Callable[[], bool], clock: Clock) -> AsyncIterator[bytes]:
    reader = _Reader(log)
    try:
        if options.tail_lines is not None:
            reader.at_end()
            if text := _joined(_last_entries(log, options.tail_lines), options):
                yield text
        else:
            for older in files_of(log)[:-1]:
                if text := _joined(older.read_bytes().split(b"\n"), options):
                    yield text
        while True:
            alive = options.follow and running()
            if text := _joined(reader.entries(), options):
                yield text
            if not alive:
                return
            await clock.sleep(LOOK_AGAIN)
    finally:
        reader.close()


async def follow_streams(log: Path, running: Callable[[], bool], clock: Clock) -> AsyncIterator[tuple[bytes, bytes]]:
    """What is written from now on until the container has ended: stream (``stdout`` or ``stderr``) and text."""
    reader = _Reader(log).at_end()
    try:
        while True:
            alive = running()
            for entry in reader.entries():
                if (text := _entry_text(entry, LogOptions())) is not None:
                    yield entry.split(b" ", 2)[1], text
            if not alive:
                return
            await clock.sleep(LOOK_AGAIN)
    finally:
        reader.close()


def _joined(entries: Iterator[bytes] | list[bytes], options: LogOptions) -> bytes:
    texts = (_entry_text(entry, options) for entry in entries if entry)
    return b"".join(text for text in texts if text)
