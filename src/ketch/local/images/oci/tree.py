"""The file system that an image's layers make together, looked at without mounting it: read-only, and nothing of the
machine's is ever reached through its links.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ketch.local.sandbox.layering import is_opaque, is_whiteout

LONGEST_FILE = 1 << 20
MOST_LINKS = 40
"""As many as the kernel follows on one path."""


class TooManyLinks(Exception):
    """A path of the image leads in circles."""


@dataclass(frozen=True)
class Tree:
    """Layers, the highest first."""

    layers: Sequence[str]

    def present(self) -> bool:
        """Whether all layers are still there."""
        return all(os.path.isdir(layer) for layer in self.layers)  # noqa: PTH112

    def resolve(self, path: str) -> str:
        """Where a path leads when every link on it is followed, the last one too. What is not there leads to itself.

        Raises TooManyLinks.
        """
        way: list[str] = []
        places = [list(self.layers)]
        """For each part of the way, where it stands in those layers that show it."""

        pending, links = _parts(path)[::-1], 0
        while pending:
            name = pending.pop()
            if name == "..":
                way, places = way[:-1], places[: max(1, len(places) - 1)]
                continue
            found = self._entry(places[-1], name)
            if isinstance(found, str):
                links += 1
                if links > MOST_LINKS:
                    raise TooManyLinks(f'"{path}" leads through too many links in the image')
                if found.startswith("/"):
                    way, places = [], places[:1]
                pending += _parts(found)[::-1]
                continue
            way.append(name)
            places.append(found)
        return "/" + "/".join(way)

    def read(self, path: str) -> str:
        """The content of a small text file; empty when there is no such file."""
        try:
            parts = _parts(self.resolve(path))
        except TooManyLinks:
            return ""
        places = list(self.layers)
        for part in parts[:-1]:
            found = self._entry(places, part)
            places = [] if isinstance(found, str) else found
        for layer in places if parts else ():
            full = f"{layer}/{parts[-1]}"
            try:
                found = os.lstat(full)
            except OSError:
                continue
            if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST_FILE:
                return ""
            try:
                return Path(full).read_text(errors="replace")
            except OSError:
                return ""
        return ""

    def _entry(self, folders: Sequence[str], name: str) -> list[str] | str:
        """What one name in a directory is: a link's text, or the places that make up a directory (else nothing)."""
        found: list[str] = []
        for path, status in _seen(folders, name):
            if stat.S_ISLNK(status.st_mode):
                return found or os.readlink(path)  # noqa: PTH115
            if not stat.S_ISDIR(status.st_mode):
                break
            found.append(path)
            if is_opaque(path):
                break
        return found


def _seen(folders: Sequence[str], name: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder in folders:
        path = f"{folder}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if is_whiteout(status):
            return
        yield path, status


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
