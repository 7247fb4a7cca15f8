"""Which requests are not even looked at: those that a web page of another origin could have made a browser send.

A browser names the page's origin, and the host that the page thinks it talks to; DNS rebinding shows as a foreign
Host. Command lines and libraries send no Origin.
"""

from collections.abc import Mapping
from functools import lru_cache

from ketch.kube.errors import BadRequest, Forbidden

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
HOSTS = LOCAL_HOSTS | {
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
    "10.244.0.1",
}
"""Names and addresses under which the server is known; the last two are its ClusterIP and the pods' gateway."""


@lru_cache(maxsize=256)
def _host(text: str) -> str:
    """The host of ``host:port``, lower case."""
    host, colon, port = text.rpartition(":")
    return (host if colon and port.isdigit() else text).lower().rstrip(".")


@lru_cache(maxsize=256)
def _local_origin(text: str) -> bool:
    scheme, separator, rest = text.partition("://")
    return bool(separator) and scheme in ("http", "https") and _host(rest) in LOCAL_HOSTS


def check(headers: Mapping[str, str]) -> None:
    """Raises BadRequest without a Host, Forbidden for a foreign Host or Origin."""
    host = headers.get("host")
    if host is None:
        raise BadRequest("missing required Host header")
    if _host(host) not in HOSTS:
        raise Forbidden(f'forbidden: host "{host}" is not a name of this server: use localhost')
    origin = headers.get("origin")
    if origin is not None and not _local_origin(origin):
        raise Forbidden(f'forbidden: pages of "{origin}" may not use this server')
    if headers.get("sec-fetch-site") == "cross-site":
        raise Forbidden("forbidden: pages of other sites may not use this server")
