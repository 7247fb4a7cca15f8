"""Where a webhook is: what a ``clientConfig`` or a service reference comes to."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.strategies.base import Listing, Lookup
from ketch.local.apiserver.streams.services import ready_endpoints

HTTPS = 443


class Unplaced(Exception):
    """Nobody is there to be asked; the message says why."""


class Place(NamedTuple):
    """What is connected to, and the name that its certificate must have."""

    url: str
    host: str
    port: int
    name: str
    path: str
    inside: bool


def place_of_url(url: str) -> Place:
    """The place that a ``clientConfig.url`` names."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return Place(url, host, parts.port or HTTPS, host, parts.path or "/", inside=False)


def place_of_service(service: Mapping[str, Any], lookup: Lookup, listing: Listing) -> Place:
    """The place that a reference to a Service names: one of its endpoints. Raises Unplaced."""
    namespace, name, port = service["namespace"], service["name"], service.get("port") or HTTPS
    path = "/" + str(service.get("path") or "").lstrip("/")
    host = f"{name}.{namespace}.svc"
    url = f"https://{host}:{port}{path}"
    found = lookup("/services", namespace, name)
    if found is None:
        raise Unplaced(f'Post "{url}": service "{name}" not found')
    wanted = next((item for item in found["spec"].get("ports") or NO_ITEMS if item["port"] == port), None)
    if wanted is not None:
        for address, number in ready_endpoints(listing, found, wanted):
            return Place(url, address, number, host, path, inside=True)
    raise Unplaced(f'Post "{url}": no endpoints available for service "{name}"')


def place_of(client: Mapping[str, Any], lookup: Lookup, listing: Listing) -> Place:
    """The place that a ``clientConfig`` names. Raises Unplaced."""
    service = client.get("service")
    return place_of_service(service, lookup, listing) if service else place_of_url(str(client.get("url") or ""))
