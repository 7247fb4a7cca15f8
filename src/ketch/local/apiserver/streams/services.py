"""Who answers for a Service: its endpoints that are ready."""

from collections.abc import Iterator, Mapping
from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.strategies.base import Listing

SLICES = "discovery.k8s.io/endpointslices"
SLICE_SERVICE = "kubernetes.io/service-name"


def ready_endpoints(listing: Listing, service: Mapping[str, Any], port: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Addresses behind one of a Service's ports."""
    meta, named = service["metadata"], port.get("name", "")
    for piece in listing(SLICES, meta["namespace"]):
        if (piece["metadata"].get("labels") or NOTHING).get(SLICE_SERVICE) != meta["name"]:
            continue
        numbers = [item["port"] for item in piece.get("ports") or NO_ITEMS if item.get("name", "") == named]
        for endpoint in piece.get("endpoints") or NO_ITEMS:
            if numbers and (endpoint.get("conditions") or NOTHING).get("ready", True):
                yield endpoint["addresses"][0], numbers[0]
