"""The way to what runs in the cluster, through the server: ``pods/proxy``, ``services/proxy``, ``nodes/proxy``.

A name may say how it is spoken to and on which port: ``[scheme:]name[:port]``.
"""

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any

from ketch.kube.errors import BadRequest, NotFound, StatusDetails, Unavailable
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.calls import Dial
from ketch.local.apiserver.answers import Answer, RelayAnswer
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.base import Listing
from ketch.local.apiserver.streams.nodedoor import NodeDoors
from ketch.local.apiserver.streams.services import ready_endpoints

KUBELET_PORTS = ("", "10250")
SCHEMES = ("http", "https")


@cache
def unverified() -> ssl.SSLContext:
    """TLS to pods and Services: nobody vouches for their certificates."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def split_name(text: str, plural: str) -> tuple[str, str, str]:
    """Scheme, name and port of ``[scheme:]name[:port]``. Raises BadRequest."""
    parts = text.split(":")
    if len(parts) == 3:
        scheme, name, port = parts
    else:
        scheme, name, port = "", parts[0], parts[1] if len(parts) == 2 else ""
    scheme = scheme or SCHEMES[0]
    if len(parts) > 3 or not name or scheme not in SCHEMES:
        raise BadRequest(f'invalid {plural[:-1]} request "{text}": it must be [scheme:]name[:port]')
    return scheme, name, port


class Proxies:
    """Finds who is meant; ``dial`` connects to addresses of the cluster."""

    def __init__(self, store: Store, listing: Listing, doors: NodeDoors, dial: Dial) -> None:
        self._store = store
        self._listing = listing
        self._doors = doors
        self._dial = dial

    async def proxy(self, _: Call, target: Target, resource: ServedResource) -> Answer:
        """Whoever the request is passed on to. Raises NotFound, BadRequest, Unavailable."""
        scheme, name, port = split_name(target.name, target.plural)
        found = self._store.get(StoreKey(resource.storage, target.namespace if resource.namespaced else "", name))
        if found is None:
            details = StatusDetails(name=name, kind=resource.plural)
            raise NotFound(f'{resource.plural} "{name}" not found', details)
        shown = f'{resource.kind.lower()} "{name}"'
        segments = 6 if resource.namespaced else 4
        prefix = f"/api/v1/{f'namespaces/{target.namespace}/' if resource.namespaced else ''}{target.plural}"
        root = f"{prefix}/{target.name}/proxy"
        if resource.storage == "/nodes":
            if port not in KUBELET_PORTS:
                raise BadRequest(f'invalid node request "{target.name}": only the port of its agent answers')
            way = self._doors.find(name)
            return RelayAnswer(way.connect, "node", shown, segments, root)
        address = _pod_address(found.value, port) if resource.storage == "/pods" else self._endpoint(found.value, port)
        return RelayAnswer(self._connector(*address, scheme), _host(*address, scheme), shown, segments, root)

    def _endpoint(self, service: Mapping[str, Any], port: str) -> tuple[str, int]:
        """One of a Service's endpoints. Raises Unavailable."""
        name, ports = service["metadata"]["name"], service["spec"].get("ports") or NO_ITEMS
        if port.isdigit():
            wanted = next((item for item in ports if item["port"] == int(port)), None)
        elif port:
            wanted = next((item for item in ports if item.get("name", "") == port), None)
        else:
            wanted = next((item for item in ports if not item.get("name")), ports[0] if len(ports) == 1 else None)
        if wanted is None:
            raise Unavailable(f'no service port "{port}" found for service "{name}"')
        found = list(ready_endpoints(self._listing, service, wanted))
        if not found:
            raise Unavailable(f'no endpoints available for service "{name}"')
        return secrets.choice(found)

    def _connector(self, host: str, port: int, scheme: str) -> Callable[..., Awaitable[asyncio.Transport]]:
        async def connect(protocol: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
            connection = await self._dial(host, port)
            context, name = (unverified(), host) if scheme == "https" else (None, None)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(protocol, sock=connection, ssl=context, server_hostname=name)
            return transport

        return connect


def _host(address: str, port: int, scheme: str) -> str:
    shown = f"[{address}]" if ":" in address else address
    return shown if port == (443 if scheme == "https" else 80) else f"{shown}:{port}"


def _pod_address(pod: Mapping[str, Any], port: str) -> tuple[str, int]:
    """Where a pod listens: on the port that is asked for, else on the first that it tells. Raises BadRequest."""
    name, address = pod["metadata"]["name"], (pod.get("status") or NOTHING).get("podIP")
    if not address:
        raise BadRequest(f'pod "{name}" has no address: it does not run')
    told = [item for each in pod["spec"].get("containers") or NO_ITEMS for item in each.get("ports") or NO_ITEMS]
    if not port:
        return address, told[0]["containerPort"] if told else 80
    number = next((item["containerPort"] for item in told if item.get("name") == port), None)
    if number is None and port.isdigit() and 0 < int(port) < 1 << 16:
        number = int(port)
    if number is None:
        raise BadRequest(f'invalid port "{port}": pod "{name}" has none of that name')
    return address, number
