"""Lines of several writers side by side, each after its writer's name."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Final

import typer

COLOURS: Final = ("cyan", "magenta", "blue", "yellow", "green", "bright_black")


class PrefixedLines:
    """Prints whole lines after their writers' names, from any thread; in colours on a terminal."""

    def __init__(self, names: Sequence[str]) -> None:
        self._width = max(map(len, names), default=0)
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._colours: dict[str, str] = {}
        self._lock = threading.Lock()

    def line(self, name: str, line: bytes) -> None:
        """Print one line."""
        with self._lock:
            self._width = max(self._width, len(name))
            prefix = f"{name:<{self._width}} │ "
            if self._coloured:
                colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
                prefix = typer.style(prefix, fg=colour)
            sys.stdout.buffer.write(prefix.encode() + line.rstrip(b"\n") + b"\n")
            sys.stdout.buffer.flush()


def whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What comes in pieces, by line; a last line without an end is given one."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest
