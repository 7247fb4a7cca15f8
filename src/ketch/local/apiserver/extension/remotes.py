"""One other API server: the way to it, and what it is told of who asks."""

import asyncio
import base64
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote

import httptools
import orjson

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.calls import CallError, Dial, ask
from ketch.local.apiserver.admission.places import Place, Unplaced, place_of_service
from ketch.local.apiserver.answers import RelayAnswer
from ketch.local.apiserver.auth.identity import AUTHENTICATED, UserInfo
from ketch.local.apiserver.strategies.base import Listing, Lookup

SECONDS = 5.0
PIECE = 1 << 16
CHECKER = UserInfo("system:kube-aggregator", ("system:masters", AUTHENTICATED))
Pair = tuple[str, str]


def identity_headers(user: UserInfo) -> Iterator[Pair]:
    """Who asks, as a front proxy says it."""
    yield "X-Remote-User", _safe(user.name)
    if user.uid:
        yield "X-Remote-Uid", _safe(user.uid)
    for group in user.groups:
        yield "X-Remote-Group", _safe(group)
    for key, values in user.extra.items():
        for value in values:
            yield f"X-Remote-Extra-{quote(key, safe='')}", _safe(value)


def _safe(text: str) -> str:
    """A header's value: no line of its own, and bytes that HTTP carries."""
    return " ".join(text.splitlines()).encode().decode("latin-1")


class Remote:
    """The server of one APIService. ``certificate`` gives the pair of files by which it knows this one."""

    def __init__(
        self, service: Mapping[str, Any], dial: Dial, lookup: Lookup, listing: Listing, certificate: Callable[[], Any]
    ) -> None:
        self.raw = service
        self.spec: Mapping[str, Any] = service["spec"]
        self.group: str = self.spec.get("group", "")
        self.version: str = self.spec.get("version", "")
        self.available = True
        self.resources: list[Mapping[str, Any]] = []
        """What it serves, as it said last."""
        self.described = False
        """Whether it has an OpenAPI document of its own."""
        self._dial = dial
        self._lookup = lookup
        self._listing = listing
        self._certificate = certificate
        self._context: ssl.SSLContext | None = None

    @property
    def priority(self) -> tuple[int, int]:
        """A sort key: what is named first in discovery."""
        return -self.spec.get("groupPriorityMinimum", 0), -self.spec.get("versionPriority", 0)

    def _secured(self) -> ssl.SSLContext:
        if self._context is None:
            bundle = self.spec.get("caBundle")
            text = base64.b64decode(bundle).decode() if bundle else None
            context = ssl.create_default_context(cadata=text)
            if self.spec.get("insecureSkipTLSVerify"):
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.load_cert_chain(*self._certificate())
            self._context = context
        return self._context

    def place(self) -> Place:
        """One of its endpoints. Raises Unplaced."""
        return place_of_service(self.spec["service"], self._lookup, self._listing)

    async def connect(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        """A connection to it. Raises OSError."""
        try:
            place = self.place()
        except Unplaced as error:
            raise OSError(str(error)) from error
        connection = await self._dial(place.host, place.port)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(
            protocol, sock=connection, ssl=self._secured(), server_hostname=place.name
        )
        return transport

    def answer(self, user: UserInfo) -> RelayAnswer:
        """What it answers to a user."""
        service = self.spec["service"]
        host = f"{service['name']}.{service['namespace']}.svc"
        what = f'the API server of "{self.raw["metadata"]["name"]}"'
        return RelayAnswer(self.connect, host, what, headers=tuple(identity_headers(user)))

    async def fetch(self, path: str) -> dict[str, Any]:
        """A document of its own, as JSON. Raises CallError."""
        service = self.spec["service"]
        lines = [f"GET {path} HTTP/1.1", f"host: {service['name']}.{service['namespace']}.svc"]
        lines += [f"{name}: {text}" for name, text in identity_headers(CHECKER)]
        lines += ["accept: application/json", "connection: close", "", ""]
        reader = asyncio.StreamReader(limit=PIECE)
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(SECONDS):
                protocol = asyncio.StreamReaderProtocol(reader)
                transport = await self.connect(lambda: protocol)
                writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
                answer = await ask(reader, writer, "\r\n".join(lines).encode("latin-1"))
        except TimeoutError as error:
            raise CallError(f'Get "{path}": context deadline exceeded') from error
        except (OSError, EOFError, ValueError, httptools.HttpParserError) as error:
            raise CallError(f'Get "{path}": {error}') from error
        finally:
            if transport is not None:
                transport.abort()
        code = answer.parser.get_status_code()
        if code != 200:
            raise CallError(f"bad status from {path}: {code}")
        try:
            found = orjson.loads(bytes(answer.body))
        except orjson.JSONDecodeError as error:
            raise CallError(f"{path} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise CallError(f"{path} is no JSON object")
        return cast("dict[str, Any]", found)

    async def look(self) -> None:
        """Ask it what it serves. Raises CallError when it does not say."""
        root = f"/apis/{self.group}/{self.version}"
        found = await self.fetch(root)
        self.resources = [each for each in found.get("resources") or NO_ITEMS if each.get("name")]
        try:
            index = await self.fetch("/openapi/v3")
        except CallError:
            self.described = False
        else:
            self.described = root.lstrip("/") in (index.get("paths") or NOTHING)

    def described_version(self) -> dict[str, Any]:
        """A version of a group in aggregated discovery, as it said itself."""
        resources: dict[str, dict[str, Any]] = {}
        for each in self.resources:
            plural, _, below = each["name"].partition("/")
            kind = {
                "group": each.get("group") or self.group,
                "version": each.get("version") or self.version,
                "kind": each.get("kind", ""),
            }
            if not below:
                entry: dict[str, Any] = {
                    "resource": plural,
                    "responseKind": kind,
                    "scope": "Namespaced" if each.get("namespaced") else "Cluster",
                    "singularResource": each.get("singularName", ""),
                    "verbs": each.get("verbs") or [],
                }
                entry |= {name: each[name] for name in ("shortNames", "categories") if each.get(name)}
                resources[plural] = {**entry, **resources.get(plural, {})}
                continue
            holder = resources.setdefault(plural, {})
            told: dict[str, Any] = {"subresource": below, "responseKind": kind, "verbs": each.get("verbs") or []}
            holder["subresources"] = [*holder.get("subresources", []), told]
        freshness = "Current" if self.available else "Stale"
        whole = [entry for entry in resources.values() if "resource" in entry]
        return {"version": self.version, "freshness": freshness, "resources": whole}
