"""EndpointSlices and Endpoints: each Service with a selector lists the pods behind it, and whether they serve."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ketch.kube.controller import Result
from ketch.kube.errors import APIError, NotFound
from ketch.kube.events import reference
from ketch.kube.informer import Informer
from ketch.kube.manager import For, Manager, Maps
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.core import Endpoints, ObjectReference, Service
from ketch.kube.types.discovery import (
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
)
from ketch.kube.types.pods import Pod
from ketch.kube.types.services import HEADLESS, EndpointAddress, EndpointPort, EndpointSubset, ServicePort
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.pods import is_deleting, is_ready, is_terminal

MANAGER = "endpointslice-controller"
MANAGED_BY = "endpointslice-controller.k8s.io"
EXTERNAL_NAME = "ExternalName"
HEADLESS_LABEL = "service.kubernetes.io/headless"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
SLICE_SIZE = 100
"""The most endpoints of one slice."""
ENDPOINTS_SIZE = 1000
"""The most addresses of one Endpoints object."""
BY_SERVICE = "endpoints.service"
BY_LABEL = "endpoints.label"
BY_SELECTOR = "endpoints.selector"


class Port(NamedTuple):
    """One port of a service as it is on a pod: hashable, to group pods by it."""

    number: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None

    def told(self) -> EndpointPort:
        """As the API has it."""
        return EndpointPort(port=self.number, name=self.name, protocol=self.protocol, app_protocol=self.app_protocol)


class Place(NamedTuple):
    """One pod behind a service, with the service's ports as they are there."""

    pod: Pod
    ports: tuple[Port, ...]


def selects(service: Service, labels: Mapping[str, str]) -> bool:
    """Whether the service means a pod with these labels. One without selector is looked after by others."""
    selector = service.spec.selector
    return bool(selector) and service.spec.type != EXTERNAL_NAME and selector.items() <= labels.items()


def target(port: ServicePort, pod: Pod) -> int | None:
    """The number of the service's port on the pod; None when the pod has no port of that name."""
    wanted = port.port if port.target_port in (None, 0, "") else port.target_port
    if isinstance(wanted, int):
        return wanted
    sidecars = (each for each in pod.spec.init_containers if each.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for each in container.ports:
            if each.name == wanted and (each.protocol or "TCP") == (port.protocol or "TCP"):
                return each.container_port
    return None


def places(service: Service, pods: Iterable[Pod]) -> list[Place]:
    """Where the service can be found: pods that have an address and have not ended."""
    found: list[Place] = []
    serving = [pod for pod in pods if pod.status.pod_ip and not is_terminal(pod)]
    for pod in sorted(serving, key=lambda each: each.metadata.name):
        if not selects(service, pod.metadata.labels):
            continue
        ports = tuple(
            Port(number, port.name, port.protocol or "TCP", port.app_protocol)
            for port in service.spec.ports
            if (number := target(port, pod)) is not None
        )
        if ports or not service.spec.ports:
            found.append(Place(pod, ports))
    return found


def _told(ports: Iterable[Port]) -> tuple[EndpointPort, ...]:
    return tuple(port.told() for port in ports)


def endpoint(service: Service, pod: Pod) -> Endpoint:
    """The pod as a slice lists it. A pod that is being deleted is not ready, though it may still serve."""
    serving, leaving = is_ready(pod), is_deleting(pod)
    ready = service.spec.publish_not_ready_addresses or (serving and not leaving)
    named = bool(pod.spec.hostname) and pod.spec.subdomain == service.metadata.name
    return Endpoint(
        addresses=(pod.status.pod_ip,),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=leaving),
        hostname=pod.spec.hostname if named else None,
        node_name=pod.spec.node_name or None,
        target_ref=_reference(pod),
    )


def _reference(pod: Pod) -> ObjectReference:
    told = reference(pod)
    return ObjectReference(kind=told.kind, namespace=told.namespace, name=told.name, uid=told.uid)


def slices(service: Service, found: Sequence[Place]) -> list[EndpointSlice]:
    """The slices that should exist: one for each set of port numbers, and more where it gets too long."""
    by_ports: dict[tuple[Port, ...], list[Pod]] = {}
    for place in found:
        by_ports.setdefault(place.ports, []).append(place.pod)
    if not by_ports:
        by_ports[()] = []
    made: list[EndpointSlice] = []
    for ports, pods in sorted(by_ports.items(), key=lambda item: item[0]):
        for begin in range(0, max(1, len(pods)), SLICE_SIZE):
            part = pods[begin : begin + SLICE_SIZE]
            made.append(_slice(service, len(made), ports, [endpoint(service, pod) for pod in part]))
    return made


def _slice(service: Service, number: int, ports: tuple[Port, ...], endpoints: Sequence[Endpoint]) -> EndpointSlice:
    """Named after the service and its number among the slices, so that no pass makes one twice."""
    name = service.metadata.name
    labels = {**service.metadata.labels, SERVICE_NAME_LABEL: name, MANAGED_BY_LABEL: MANAGED_BY}
    if service.spec.cluster_ip == HEADLESS:
        labels[HEADLESS_LABEL] = ""
    meta = ObjectMeta(name=f"{name}-{number}" if number else name, labels=labels)
    made = EndpointSlice(metadata=meta, address_type="IPv4", endpoints=tuple(endpoints), ports=_told(ports))
    return controlled_by(service, made)


def subsets(service: Service, found: Sequence[Place]) -> tuple[EndpointSubset, ...]:
    """The same in the older form; pods that are being deleted are left out."""
    ready: dict[tuple[Port, ...], list[EndpointAddress]] = {}
    unready: dict[tuple[Port, ...], list[EndpointAddress]] = {}
    for place in found[:ENDPOINTS_SIZE]:
        told = endpoint(service, place.pod)
        if told.conditions.terminating and not service.spec.publish_not_ready_addresses:
            continue
        address = EndpointAddress(
            ip=place.pod.status.pod_ip,
            hostname=told.hostname or "",
            node_name=told.node_name,
            target_ref=told.target_ref,
        )
        (ready if told.conditions.ready else unready).setdefault(place.ports, []).append(address)
    return tuple(
        EndpointSubset(
            addresses=tuple(ready.get(ports, ())), not_ready_addresses=tuple(unready.get(ports, ())), ports=_told(ports)
        )
        for ports in sorted({*ready, *unready}, key=str)
    )


def endpoints_for(service: Service, found: Sequence[Place]) -> Endpoints:
    """The Endpoints object that should exist."""
    labels = {**service.metadata.labels}
    if service.spec.cluster_ip == HEADLESS:
        labels[HEADLESS_LABEL] = ""
    marks = {OVER_CAPACITY: "truncated"} if len(found) > ENDPOINTS_SIZE else {}
    meta = ObjectMeta(
        name=service.metadata.name, namespace=service.metadata.namespace, labels=labels, annotations=marks
    )
    return Endpoints(metadata=meta, subsets=subsets(service, found))


def same_slice(old: EndpointSlice, new: EndpointSlice) -> bool:
    """Whether nothing need be written."""
    held = (old.address_type, old.endpoints, old.ports) == (new.address_type, new.endpoints, new.ports)
    return held and new.metadata.labels.items() <= old.metadata.labels.items()


class EndpointsReconciler:
    """Writes the slices and Endpoints of Services."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._services = manager.informer(Service)
        self._pods = manager.informer(Pod)
        self._slices = manager.informer(EndpointSlice)
        self._endpoints = manager.informer(Endpoints)
        self._slices.add_index(BY_SERVICE, _service_of)
        self._pods.add_index(BY_LABEL, _labels_of)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        service = self._services.get(key)
        if service is None:
            await self._forget(key)
            return Result()
        if not service.spec.selector or service.metadata.deletion_timestamp is not None:
            return Result()
        try:
            if service.spec.type == EXTERNAL_NAME:
                await self._clear(key)
            else:
                await self._write(key, service)
        except APIError as error:
            if not is_dying(error):
                raise
        return Result()

    async def _clear(self, key: ObjectKey) -> None:
        """A name elsewhere has no pods behind it, whatever it selects and was before."""
        for old in self._owned(key):
            await self._delete_slice(old)
        await self._forget(key)

    async def _write(self, key: ObjectKey, service: Service) -> None:
        found = places(service, self._candidates(service))
        wanted = {each.metadata.name: each for each in slices(service, found)}
        for old in self._owned(key):
            if old.metadata.name not in wanted:
                await self._delete_slice(old)
        for name, each in wanted.items():
            held = self._slices.get(ObjectKey(key.namespace, name))
            if held is None or not same_slice(held, each):
                await self._client.apply(each, manager=MANAGER)
        older = endpoints_for(service, found)
        known = self._endpoints.get(key)
        if known is None or known.subsets != older.subsets or not _labelled(known, older):
            await self._client.apply(older, manager=MANAGER)

    def _candidates(self, service: Service) -> list[Pod]:
        """Pods with the rarest label of the selector, so that other pods of the namespace cost nothing."""
        texts = [_label(service.metadata.namespace, *pair) for pair in service.spec.selector.items()]
        return self._pods.by_index(BY_LABEL, min(texts, key=lambda text: self._pods.count_by_index(BY_LABEL, text)))

    def _owned(self, key: ObjectKey) -> list[EndpointSlice]:
        return [
            each
            for each in self._slices.by_index(BY_SERVICE, str(key))
            if each.metadata.labels.get(MANAGED_BY_LABEL) == MANAGED_BY
        ]

    async def _delete_slice(self, old: EndpointSlice) -> None:
        try:
            await self._client.delete(EndpointSlice, old.metadata.name, old.metadata.namespace)
        except NotFound:
            return

    async def _forget(self, key: ObjectKey) -> None:
        """Slices follow their owner; Endpoints have none, they share the service's name."""
        if self._endpoints.get(key) is not None:
            try:
                await self._client.delete(Endpoints, key.name, key.namespace)
            except NotFound:
                return


def _labelled(known: Endpoints, wanted: Endpoints) -> bool:
    marks = wanted.metadata.annotations.items() <= known.metadata.annotations.items()
    return marks and wanted.metadata.labels.items() <= known.metadata.labels.items()


def _service_of(each: EndpointSlice) -> Iterator[str]:
    if name := each.metadata.labels.get(SERVICE_NAME_LABEL):
        yield str(ObjectKey(each.metadata.namespace, name))


def _label(namespace: str, name: str, value: str) -> str:
    return f"{namespace}/{name}={value}"


def _labels_of(pod: Pod) -> Iterator[str]:
    for pair in pod.metadata.labels.items():
        yield _label(pod.metadata.namespace, *pair)


class Selectors:
    """Which services mean a pod, asked by what they select: what a pod costs does not grow with the services.

    Selectors are of few shapes (sets of label names); of each, one look at the pod's own values tells.
    """

    def __init__(self, services: Informer[Service]) -> None:
        self._services = services
        self._shapes: set[tuple[str, ...]] = set()
        """Every shape there has been."""

        services.add_index(BY_SELECTOR, self._selected)

    def behind(self, pod: Pod) -> list[ObjectKey]:
        """The services that the pod is behind."""
        labels = pod.metadata.labels
        texts = (
            _selected(pod.metadata.namespace, [(name, labels[name]) for name in shape])
            for shape in self._shapes
            if all(name in labels for name in shape)
        )
        return [each.key for text in texts for each in self._services.by_index(BY_SELECTOR, text)]

    def _selected(self, service: Service) -> Iterator[str]:
        selector = service.spec.selector
        if not selects(service, selector):
            return
        pairs = sorted(selector.items())
        self._shapes.add(tuple(name for name, _ in pairs))
        yield _selected(service.metadata.namespace, pairs)


def _selected(namespace: str, pairs: Iterable[tuple[str, str]]) -> str:
    return f"{namespace}/" + ",".join(f"{name}={value}" for name, value in pairs)


def setup(manager: Manager) -> None:
    """Run the controller."""
    services, pods, held = manager.informer(Service), manager.informer(Pod), manager.informer(EndpointSlice)

    selectors = Selectors(services)

    def named(each: EndpointSlice) -> list[ObjectKey]:
        name = each.metadata.labels.get(SERVICE_NAME_LABEL)
        return [ObjectKey(each.metadata.namespace, name)] if name else []

    def namesake(each: Endpoints) -> list[ObjectKey]:
        return [each.key]

    manager.controller(
        "endpoints",
        EndpointsReconciler(manager),
        For(services),
        Maps(pods, selectors.behind),
        Maps(held, named),
        Maps(manager.informer(Endpoints), namesake),
    )
