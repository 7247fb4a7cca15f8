"""Sources by scheme: object stores, web addresses, files, and repositories of a model hub.

Variables are those of upstream's initializers (as its SDK sets them): IGNORE_PATTERNS for all; ENDPOINT, ACCESS_KEY_ID,
SECRET_ACCESS_KEY, REGION for s3; ACCESS_TOKEN for hf, and HF_ENDPOINT where the hub is not the public one.
"""

import asyncio
import fnmatch
import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx

from ketch.metadata.objects import KeyOutside, StoreError
from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.table import SCHEMES, Connection, Place, split

HUB: Final = "https://huggingface.co"
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_PATIENCE: Final = timedelta(seconds=60)
_KINDS_OF_REPOSITORY: Final = {"dataset": "datasets", "model": "models"}
_KNOWN: Final = ("hf", "http", "https", "file", *SCHEMES)

Skips = Callable[[str], bool]


class SourceFailed(Exception):
    """The content cannot be had; the message says why and what to do."""


async def bring(uri: str, target: Path, kind: str, environment: Mapping[str, str]) -> int:
    """Fetch what ``uri`` names into the directory ``target``; how many files came. Raises SourceFailed."""
    scheme, separator, _ = uri.partition("://")
    if not separator:
        raise SourceFailed(f"STORAGE_URI is {uri!r}: expected a URI such as {'://, '.join(_KNOWN)}://")
    if scheme not in _KNOWN:
        raise SourceFailed(f"{uri}: {scheme}:// is not served here: use one of {'://, '.join(_KNOWN)}://")
    skips = _skips(environment.get("IGNORE_PATTERNS", ""))
    await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)
    try:
        match scheme:
            case "http" | "https":
                async with _web({}) as web:
                    await _download(web, uri, target / _name_of(uri))
                count = 1
            case "hf":
                count = await _from_hub(uri, target, kind, environment, skips)
            case "file":
                count = await asyncio.to_thread(_from_files, uri, target, skips)
            case _:
                count = await _from_store(uri, target, environment, skips)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, StoreError, KeyOutside) as error:
        raise SourceFailed(f"{uri} cannot be fetched: {error or type(error).__name__}") from error
    if not count:
        raise SourceFailed(f"{uri} cannot be fetched: there is nothing, or IGNORE_PATTERNS leaves nothing of it")
    return count


def _skips(patterns: str) -> Skips:
    """Whether a path matches one of the patterns, which are separated by commas."""
    wanted = [each.strip() for each in patterns.split(",") if each.strip()]
    return lambda path: any(fnmatch.fnmatchcase(path, each) for each in wanted)


def _name_of(url: str) -> str:
    """What a file from the web is called here."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return name if name not in ("", ".", "..") else "content"


async def _from_store(uri: str, target: Path, environment: Mapping[str, str], skips: Skips) -> int:
    if environment.get("ROLE_ARN"):
        raise SourceFailed(f"{uri}: ROLE_ARN is not served here: set ACCESS_KEY_ID and SECRET_ACCESS_KEY instead")
    scheme, endpoint = uri.partition("://")[0], environment.get("ENDPOINT", "")
    connection = Connection(
        kind=SCHEMES[scheme], endpoint=endpoint, region=environment.get("REGION", ""), path_style=bool(endpoint)
    )
    names = {"access_key": "ACCESS_KEY_ID", "secret_key": "SECRET_ACCESS_KEY"}
    credentials = {name: environment[variable] for name, variable in names.items() if environment.get(variable)}
    place = Place(scheme=scheme, connection=connection, credentials=credentials)
    store = RemoteObjectStore((place,), _PATIENCE, environment)
    _, _, key = split(uri)
    is_object = bool(key) and await store.read(uri, 1) is not None
    return await store.fetch(uri, target / _name_of(uri) if is_object else target, skips)


def _from_files(uri: str, target: Path, skips: Skips) -> int:
    """A file, or a directory with all below it, of a volume that is mounted here."""
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise SourceFailed(f"{uri}: expected file:///<absolute path>")
    source = Path(unquote(parts.path))
    if source.is_file():
        shutil.copyfile(source, target / source.name)
        return 1
    count = 0
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not skips(relative.as_posix()):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / relative)
            count += 1
    return count


async def _from_hub(uri: str, target: Path, kind: str, environment: Mapping[str, str], skips: Skips) -> int:
    """hf://<owner>/<repository>[/<path within>], its main revision."""
    owner, _, rest = uri.removeprefix("hf://").strip("/").partition("/")
    name, _, within = rest.partition("/")
    if not owner or not name:
        raise SourceFailed(f"{uri}: expected hf://<owner>/<repository>")
    repository, repositories = f"{owner}/{name}", _KINDS_OF_REPOSITORY[kind]
    base = environment.get("HF_ENDPOINT", "").rstrip("/") or HUB
    files = f"{base}/{'' if kind == 'model' else f'{repositories}/'}{repository}/resolve/main"
    token = environment.get("ACCESS_TOKEN", "")
    count = 0
    async with _web({"Authorization": f"Bearer {token}"} if token else {}) as web:
        for path in await _listed(web, f"{base}/api/{repositories}/{repository}/tree/main?recursive=true"):
            parts = PurePosixPath(path).parts
            is_within = not within or path == within or path.startswith(f"{within}/")
            if not is_within or ".." in parts or path.startswith("/") or skips(path):
                continue
            await _download(web, f"{files}/{quote(path)}", target / path)
            count += 1
    return count


async def _listed(web: httpx.AsyncClient, url: str) -> list[str]:
    """The repository's files; the hub tells them in pages."""
    found: list[str] = []
    following: str | None = url
    while following:
        answer = await web.get(following)
        _check(answer)
        entries: list[dict[str, Any]] = answer.json()
        found += [str(entry["path"]) for entry in entries if entry.get("type") == "file"]
        following = answer.links.get("next", {}).get("url")
    return found


def _web(headers: Mapping[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(headers=dict(headers), timeout=_TIMEOUT, follow_redirects=True)


async def _download(web: httpx.AsyncClient, url: str, path: Path) -> None:
    """A file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        async with web.stream("GET", url) as answer:
            _check(answer)
            with partial.open("wb") as file:
                async for piece in answer.aiter_bytes():
                    await asyncio.to_thread(file.write, piece)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    hint = ": is ACCESS_TOKEN set, and may it read this?" if answer.status_code in (401, 403) else ""
    raise SourceFailed(f"{answer.request.url} answers {answer.status_code} {answer.reason_phrase}{hint}")
