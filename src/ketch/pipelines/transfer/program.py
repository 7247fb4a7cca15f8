"""What the carrying containers do: ``fetch`` what a step reads, ``deliver`` what it left once it has ended.

The stores are in the variable STORES, a table whose credentials are names of other variables. Nothing is read through
links that lead out of the step's own directory: what they lead to would be this container's, not the step's.
"""

import asyncio
import contextlib
import http.client
import logging
import os
import secrets
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from ketch.metadata.objects import StoreError
from ketch.metadata.stores.remote import RemoteObjectStore, regular
from ketch.metadata.stores.table import Place, Table, place_of
from ketch.pipelines.steps.layout import OUTPUT_FILE, data_path
from ketch.pipelines.transfer.sources import READY, STORES, WEB

PATIENCE: Final = timedelta(minutes=5)
"""How long a store may be away while something is carried."""

LARGEST_FROM_WEB: Final = 32 * 1024**3
_WEB_SECONDS: Final = 60  # of silence
_PIECE: Final = 1024 * 1024
_SENTENCE: Final = 300
_AT_ONCE: Final = 3  # files
_OPEN: Final = 0o777
_PROBLEMS = (StoreError, OSError, ValueError)  # ValueError: a name that no store can have

log = logging.getLogger(__name__)


class TransferFailed(Exception):
    """Data did not get where it belongs; the message is for the person whose step it is."""


def read_table(environment: Mapping[str, str]) -> Table:
    """The stores, their credentials filled in from ``environment``."""
    table = msgspec.json.decode(environment.get(STORES, "[]"), type=list[Place])
    return [
        msgspec.structs.replace(place, credentials={name: environment[key] for name, key in place.credentials.items()})
        for place in table
    ]


class Carrier:
    """Carries between stores and a step's directories, which are below ``root`` (for tests; else /)."""

    def __init__(self, table: Table, environment: Mapping[str, str], root: Path = Path("/")) -> None:
        self._store = RemoteObjectStore(table, PATIENCE, environment)
        self._root = root.resolve()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def fetch(self, uris: Sequence[str]) -> Sequence[str]:
        """Bring the data of all ``uris``; what is not there, a sentence for each. Raises TransferFailed.

        A step may use an address alone, so it is the step's to miss the data.
        """
        results = await asyncio.gather(*(self._fetch(uri) for uri in dict.fromkeys(uris)), return_exceptions=True)
        missed: list[str] = []
        for result in results:
            if isinstance(result, _PROBLEMS):
                raise TransferFailed(f"an input could not be fetched: {result}") from result
            if isinstance(result, BaseException):
                raise result
            missed += [result] if result else []
        return missed

    async def _fetch(self, uri: str) -> str:
        async with self._turn:
            path = local_file(self._root, uri)
            if uri.partition("://")[0] in WEB:
                return await asyncio.to_thread(_from_web, uri, path)
            if place_of(self._store.table, uri) is None:
                return f"{uri} is in no store that is known here: skipped"
            return "" if await self._store.fetch(uri, path) else f"{uri}: there is nothing"

    def prepare(self, uri: str) -> None:
        """Make the directory in which the step leaves its outputs, open to whatever user it runs as."""
        path = local_file(self._root, uri)
        before = os.umask(0)
        path.mkdir(mode=_OPEN, parents=True, exist_ok=True)
        os.umask(before)

    async def deliver(self, uri: str, fetched: Sequence[str]) -> int:
        """Upload what is in the place of ``uri``, its output document last; how many files. Raises TransferFailed."""
        directory = local_file(self._root, uri)
        document = directory / OUTPUT_FILE
        files = [(path, uri, below) for path, below in _files(directory) if below != OUTPUT_FILE]
        for other, path in self._elsewhere(document, uri, fetched):
            files += [(each, other, below) for each, below in _files(path)]
        results = await asyncio.gather(*(self._upload(*each) for each in files), return_exceptions=True)
        for result in results:
            if isinstance(result, _PROBLEMS):
                raise TransferFailed(f"an output could not be uploaded: {result}") from result
            if isinstance(result, BaseException):
                raise result
        if document.is_file() and not document.is_symlink():
            try:
                await self._upload(document, uri, OUTPUT_FILE)
            except _PROBLEMS as error:
                raise TransferFailed(f"the output document could not be uploaded: {error}") from error
        return len(files)

    async def _upload(self, path: Path, uri: str, below: str) -> None:
        async with self._turn:
            await self._store.deliver(path, uri, below)

    def _elsewhere(self, document: Path, uri: str, fetched: Sequence[str]) -> Iterator[tuple[str, Path]]:
        """Output artifacts whose URI the step changed, where their data is here and did not come from there."""
        for other in dict.fromkeys(_artifact_uris(document)):
            if place_of(self._store.table, other) is None or _within(other, (uri, *fetched)):
                continue
            path = local_file(self._root, other)
            if path.exists():
                yield other.rstrip("/"), path


def local_file(root: Path, uri: str) -> Path:
    """Where a step finds the data of ``uri``, below ``root``."""
    return root / data_path(uri).strip("/")


def _within(uri: str, others: Sequence[str]) -> bool:
    return any(uri == other or uri.startswith(f"{other.rstrip('/')}/") for other in others)


def _files(top: Path) -> Iterator[tuple[Path, str]]:
    """Every regular file at or below ``top``, with its place there; a link is the file within to which it leads."""
    real_top = Path(os.path.realpath(top))
    if real_top != top:
        log.warning("%s leads elsewhere: skipped", top)
        return
    if real_top.is_file():
        yield real_top, ""
        return
    for folder, folders, names in os.walk(real_top):
        for name in [*names, *(each for each in folders if Path(folder, each).is_symlink())]:
            path = Path(folder, name)
            real = Path(os.path.realpath(path))
            if real.is_file() and real.is_relative_to(real_top):
                yield real if path.is_symlink() else path, str(path.relative_to(real_top))
            else:
                log.warning("%s is no regular file of this output: skipped", path)


class _Artifacts(msgspec.Struct):
    artifacts: list[dict[str, Any]] = []


class _Document(msgspec.Struct):
    artifacts: dict[str, _Artifacts] = {}


def _artifact_uris(document: Path) -> Iterator[str]:
    try:
        with open(document, "rb", opener=regular) as file:
            written = msgspec.json.decode(file.read(), type=_Document)
    except (OSError, msgspec.MsgspecError):
        return  # what is wrong with it, the engine tells
    for several in written.artifacts.values():
        for artifact in several.artifacts:
            if isinstance(uri := artifact.get("uri"), str):
                yield uri


def _from_web(url: str, path: Path) -> str:
    """Fetch; what cannot be had stays away, as from a store, and is told."""
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(url, timeout=_WEB_SECONDS) as answer, partial.open("wb") as file:  # noqa: S310  # http and https alone come here
            expected, came = int(answer.headers.get("Content-Length") or -1), 0
            while piece := b"" if max(expected, came) > LARGEST_FROM_WEB else answer.read(_PIECE):
                came += file.write(piece)
        if came < expected or came > LARGEST_FROM_WEB:
            return f"{url}: fetched no more than {came} of {expected} bytes"
        partial.replace(path)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as error:
        return f"{url} cannot be fetched: {_reason(error)}"
    finally:
        partial.unlink(missing_ok=True)
    return ""


def _reason(error: Exception) -> str:
    """What went wrong, with the server's (or a proxy's) own sentence where it is one."""
    if isinstance(error, urllib.error.HTTPError):
        if error.headers.get_content_type() == "text/plain":
            with contextlib.suppress(OSError, http.client.HTTPException):
                return f"{error}: {error.read(_SENTENCE).decode(errors='replace').strip()}"
        return str(error)
    return str(error.reason if isinstance(error, urllib.error.URLError) else error)


async def wait_for_end() -> None:
    """Until SIGTERM; READY exists from when it is heard."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await asyncio.to_thread(Path(READY).touch)
    await ended.wait()
