"""One file out of an uploaded archive, however the archive was made."""

import gzip
import io
import tarfile
import zipfile
import zlib
from typing import Final

from ketch.pipelines.errors import InvalidInput

MAX_FILE: Final = 32 * 1024 * 1024
"""The largest file that holds a pipeline, as upstream has it."""

_MAX_UNPACKED: Final = 8 * MAX_FILE  # what a tar archive may unpack to before the file is found
_MAX_ENTRIES: Final = 10_000
_PREFERRED: Final = "pipeline.yaml"
_GZIP, _ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")  # the second one is an empty zip
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def unpacked(content: bytes) -> bytes:
    """``pipeline.yaml`` of a zip or tar.gz, else its first file; anything else as it is. Raises InvalidInput."""
    try:
        if content.startswith(_GZIP):
            return _from_tar(content)
        if content.startswith(_ZIP):
            return _from_zip(content)
    except _DAMAGED as error:
        raise InvalidInput(f"the archive cannot be read: {error}") from error
    return content


class _Bounded(io.RawIOBase):
    """What unpacks to more than any honest archive is not unpacked to its end."""

    def __init__(self, source: gzip.GzipFile) -> None:
        self._source, self._left = source, _MAX_UNPACKED

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes. Raises InvalidInput beyond the bound."""
        data = self._source.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidInput(f"the archive unpacks to more than {_MAX_UNPACKED // 2**20} MiB")
        return data


def _from_tar(content: bytes) -> bytes:
    first: bytes | None = None
    with (
        gzip.GzipFile(fileobj=io.BytesIO(content)) as packed,
        tarfile.open(fileobj=_Bounded(packed), mode="r|") as archive,
    ):
        for number, member in enumerate(archive):
            _check_entries(number)
            if not member.isfile():
                continue
            preferred = member.name.rpartition("/")[2] == _PREFERRED
            if (first is None or preferred) and (file := archive.extractfile(member)) is not None:
                first = _limited(file.read(MAX_FILE + 1))
            if preferred:
                break
    return _found(first)


def _from_zip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        _check_entries(len(entries))
        names = [entry.filename for entry in entries if not entry.is_dir()]
        names.sort(key=lambda name: name.rpartition("/")[2] != _PREFERRED)
        if not names:
            return _found(None)
        with archive.open(names[0]) as file:
            return _limited(file.read(MAX_FILE + 1))


def _check_entries(number: int) -> None:
    if number > _MAX_ENTRIES:
        raise InvalidInput(f"the archive has more than {_MAX_ENTRIES} entries")


def _limited(content: bytes) -> bytes:
    if len(content) > MAX_FILE:
        raise InvalidInput(f"the file in the archive is larger than {MAX_FILE // 2**20} MiB")
    return content


def _found(content: bytes | None) -> bytes:
    if content is None:
        raise InvalidInput("the archive holds no file; expected pipeline.yaml")
    return content
