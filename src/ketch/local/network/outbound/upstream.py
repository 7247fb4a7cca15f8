"""The proxy that the host itself has to use, as the usual environment variables tell. Pure."""

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Upstream:
    """A proxy: its address, whether it speaks TLS, and what it wants as authorization."""

    host: str
    port: int
    tls: bool = False
    authorization: str = ""


@dataclass(frozen=True)
class Upstreams:
    """Which proxy leads where; None: the host connects by itself."""

    plain: Upstream | None = None
    secure: Upstream | None = None
    excluded: Sequence[str] = ()

    def towards(self, host: str, *, secure: bool) -> Upstream | None:
        """The proxy for connections to ``host``."""
        return None if any(_matches(host, pattern) for pattern in self.excluded) else self._by_kind(secure=secure)

    def _by_kind(self, *, secure: bool) -> Upstream | None:
        return self.secure if secure else self.plain


def _matches(host: str, pattern: str) -> bool:
    name, pattern = host.lower().rstrip("."), pattern.lower().lstrip("*").lstrip(".")
    if not pattern:
        return True  # the pattern was "*"
    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return name == pattern or name.endswith(f".{pattern}")


def _parse(url: str) -> Upstream | None:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    tls = parts.scheme == "https"
    authorization = ""
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
    return Upstream(parts.hostname, parts.port or (443 if tls else 80), tls, authorization)


def upstreams(environment: Mapping[str, str]) -> Upstreams:
    """What ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` say, in small letters or large."""

    def variable(name: str) -> str:
        return environment.get(name) or environment.get(name.upper()) or ""

    found: dict[str, Upstream | None] = {}
    for kind in ("http", "https"):
        url = variable(f"{kind}_proxy") or variable("all_proxy")
        found[kind] = _parse(url) if url else None
    excluded = tuple(item for item in variable("no_proxy").replace(" ", "").split(",") if item)
    return Upstreams(found["http"], found["https"], excluded)
