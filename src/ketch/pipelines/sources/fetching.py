"""A package at an address that a user names, fetched without lending the user this machine's place in the network."""

import asyncio
import errno
import os
import socket
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.sources.archives import MAX_FILE
from ketch.pipelines.sources.rules import Rules

MAX_REDIRECTS: Final = 5
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10, sock_read=20)
_CHUNK: Final = 64 * 1024
_FIELD: Final = "package_url.pipeline_url"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Addresses that carry another one: what they lead to is for a translator to decide, not for us to guess.
_CARRIERS: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("2002::/16"))


class Fetching:
    """Fetches under ``rules``."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def fetch(self, url: str) -> bytes:
        """The package's content. Raises InvalidInput, saying what is wrong with the address or its answer."""
        if (parts := _split(url)).scheme == "file":
            return await asyncio.to_thread(self._read, parts)
        # No proxies, cookies or credentials of this machine's: trust_env stays off.
        connector = aiohttp.TCPConnector(resolver=_PublicOnly(self._rules), force_close=True)
        try:
            async with aiohttp.ClientSession(
                connector=connector, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()
            ) as session:
                return await self._follow(session, url)
        except TimeoutError as error:
            raise InvalidInput(f"{_FIELD}: {url} does not answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise InvalidInput(f"{_FIELD}: {url} cannot be read: {error}") from error

    async def _follow(self, session: aiohttp.ClientSession, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with session.get(self._check(url), allow_redirects=False) as answer:
                if answer.status in _REDIRECTS and (target := answer.headers.get("location")):
                    url = urljoin(url, target)
                    continue
                if answer.status != HTTPStatus.OK:
                    raise InvalidInput(f"{_FIELD}: {url} answers {answer.status} {answer.reason}")
                return await _content(answer)
        raise InvalidInput(f"{_FIELD}: more than {MAX_REDIRECTS} redirects")

    def _check(self, url: str) -> URL:
        """``url`` as it is asked for, if it may be; names are looked at again when they are resolved.

        Raises InvalidInput. Looked at is what the client will connect to: other spellings of digits are digits there.
        """
        try:
            target = URL(url)
            host = (target.raw_host or "").lower().rstrip(".")
        except ValueError as error:
            raise InvalidInput(f"{_FIELD}: {url!r} is no address: {error}") from error
        if target.scheme not in (("https", "http") if self._rules.http else ("https",)):
            raise InvalidInput(
                f"{_FIELD}: {url}: packages are imported by https, not by {target.scheme or 'no scheme'}"
            )
        if not host or target.user or target.password:
            raise InvalidInput(f"{_FIELD}: {url}: expected https://<host>/<path>, without a user's name")
        if not self._rules.allows(host):
            raise InvalidInput(f"{_FIELD}: packages are not imported from {host}: it is not among the allowed domains")
        if not self._rules.trusts(host) and _is_address(host) and not public(host):
            raise InvalidInput(f"{_FIELD}: packages are not imported from {host}, which is not a public address")
        return target

    def _read(self, parts: SplitResult) -> bytes:
        if "\0" in (name := unquote(parts.path)):
            raise InvalidInput(f"{_FIELD}: {parts.path} is no path")
        path = Path(os.path.realpath(name))  # a link out of the roots is outside of them
        allowed = parts.netloc in ("", "localhost") and any(path.is_relative_to(root) for root in self._rules.roots)
        if not allowed:
            raise InvalidInput(f"{_FIELD}: packages are not imported from {parts.path}: file:// is not allowed there")
        try:
            if not path.is_file():  # a pipe would be waited for, a device has no end
                raise InvalidInput(f"{_FIELD}: {parts.path} is not a file")
            with path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
        except OSError as error:
            raise InvalidInput(f"{_FIELD}: {parts.path} cannot be read: {error.strerror}") from error
        _check_size(len(content))
        return content


class _PublicOnly(AbstractResolver):
    """Names resolve to public addresses or not at all: what is checked is what is connected to."""

    def __init__(self, rules: Rules) -> None:
        self._rules, self._inner = rules, ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError when the name has no address that may be used."""
        found = await self._inner.resolve(host, port, family)
        if self._rules.trusts(host.lower().rstrip(".")):
            return found
        usable = [each for each in found if public(each["host"])]
        if not usable:
            raise OSError(errno.EADDRNOTAVAIL, f"{host} has no public address")
        return usable

    async def close(self) -> None:
        """Nothing is held."""
        await self._inner.close()


def public(address: str) -> bool:
    """Whether the address is one of the internet's, and of no machine or network nearby."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False  # a spelling that only some understand
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return public(str(ip.ipv4_mapped))
        if any(ip in carrier for carrier in _CARRIERS):
            return False
    return ip.is_global and not ip.is_multicast


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only here
    except ValueError as error:
        raise InvalidInput(f"{_FIELD}: {url!r} is no address: {error}") from error
    return parts


def _is_address(host: str) -> bool:
    """Whether a client takes the host for an address, which nobody resolves."""
    return ":" in host or host.replace(".", "").isdigit()


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    _check_size(answer.content_length or 0)
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        _check_size(len(content))
    return bytes(content)


def _check_size(size: int) -> None:
    if size > MAX_FILE:
        raise InvalidInput(f"{_FIELD}: the package is larger than {MAX_FILE // 2**20} MiB")
