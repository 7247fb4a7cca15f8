"""Tells the network daemon of Services and names, as kube-proxy and cluster DNS do. ``tables`` is pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ketch.kube.clock import Clock
from ketch.kube.informer import Informer
from ketch.kube.manager import Manager
from ketch.kube.types.core import Pod, Service
from ketch.kube.types.discovery import SERVICE_NAME_LABEL, Endpoint, EndpointSlice
from ketch.kube.types.services import HEADLESS, ServicePort
from ketch.local.network.client import NetworkClient, ServiceEntry
from ketch.local.node.services.telling import LivingPods, Telling

DOMAIN = "cluster.local"
OWN = frozenset({("default", "kubernetes"), ("kube-system", "kube-dns")})
"""Services whose addresses the network daemon serves itself."""

EXTERNAL = "ExternalName"
RETRY_SECONDS = 0.5
PAUSE = 0.02
"""Seconds between two tellings: where pods come and go by the hundred, not each is worth one."""

Slices = Mapping[tuple[str, str], Sequence[EndpointSlice]]


class Tables(NamedTuple):
    """What the network daemon is told."""

    services: tuple[ServiceEntry, ...]
    names: Mapping[str, tuple[str, ...]]


def _ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False


def behind(port: ServicePort, slices: Iterable[EndpointSlice]) -> tuple[tuple[str, int], ...]:
    """Addresses and ports of the ready endpoints of one port."""
    found: list[tuple[str, int]] = []
    for each in slices:
        numbers = [item.port for item in each.ports if (item.name or "") == port.name and item.port]
        for endpoint in filter(_ready, each.endpoints):
            found += [(endpoint.addresses[0], number) for number in numbers if endpoint.addresses]
    return tuple(sorted(set(found)))


def _service_entries(service: Service, slices: Sequence[EndpointSlice]) -> list[ServiceEntry]:
    entries: list[ServiceEntry] = []
    for port in service.spec.ports:
        protocol = "UDP" if port.protocol == "UDP" else "TCP"
        if port.protocol in ("", "TCP", "UDP"):
            entries.append(ServiceEntry(service.spec.cluster_ip, port.port, protocol, behind(port, slices)))
    return entries


def _headless_names(name: str, slices: Sequence[EndpointSlice]) -> dict[str, tuple[str, ...]]:
    addresses: set[str] = set()
    names: dict[str, set[str]] = {}
    for each in slices:
        for endpoint in filter(_ready, each.endpoints):
            addresses.update(endpoint.addresses)
            if endpoint.hostname:
                names.setdefault(f"{endpoint.hostname}.{name}", set()).update(endpoint.addresses)
    return {key: tuple(sorted(values)) for key, values in {name: addresses, **names}.items()}


def tables(services: Iterable[Service], slices: Slices, pods: Iterable[Pod]) -> Tables:
    """The whole of both tables."""
    entries: list[ServiceEntry] = []
    names: dict[str, tuple[str, ...]] = {}
    for service in services:
        key = (service.metadata.namespace, service.metadata.name)
        name = f"{key[1]}.{key[0]}.svc.{DOMAIN}"
        own = slices.get(key, ())
        if service.spec.type == EXTERNAL:
            names[name] = (service.spec.external_name,)
        elif service.spec.cluster_ip == HEADLESS:
            names |= _headless_names(name, own)
        elif service.spec.cluster_ip:
            names[name] = (service.spec.cluster_ip,)
            if key not in OWN:
                entries += _service_entries(service, own)
    for pod in pods:
        if pod.status.pod_ip and not pod.spec.host_network:
            dashed = pod.status.pod_ip.replace(".", "-")
            names[f"{dashed}.{pod.metadata.namespace}.pod.{DOMAIN}"] = (pod.status.pod_ip,)
    return Tables(tuple(entries), names)


class Proxy:
    """Keeps the network daemon's tables like the API's; changes that come together are told together."""

    def __init__(self, manager: Manager, network: NetworkClient, pods: Informer[Pod], clock: Clock) -> None:
        self._services = manager.informer(Service)
        self._slices = manager.informer(EndpointSlice)
        self._network = network
        self._told: Tables | None = None
        self._telling = Telling(self._tell, clock, pause=PAUSE, retry=RETRY_SECONDS)
        self._alive = LivingPods(pods, lambda pod: pod.status.pod_ip, self._telling.changed)
        for informer in (self._services, self._slices):
            informer.add_handler(self._telling.on_change)

    async def run(self) -> None:
        """Go on until cancelled."""
        await self._telling.run()

    async def _tell(self) -> None:
        slices: dict[tuple[str, str], list[EndpointSlice]] = {}
        for each in self._slices.list():
            name = each.metadata.labels.get(SERVICE_NAME_LABEL, "")
            slices.setdefault((each.metadata.namespace, name), []).append(each)
        wanted = tables(self._services.list(), slices, self._alive.all())
        before = self._told
        if before is None or wanted.services != before.services:
            await self._network.set_services(wanted.services)
        if before is None or wanted.names != before.names:
            await self._network.set_names(wanted.names)
        self._told = wanted
