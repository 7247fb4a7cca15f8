"""core/v1: Service and Endpoints."""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import field

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import NO_LABELS, Condition, KubeObject, Resource
from ketch.kube.types.containers import NOTHING, IntOrString

HEADLESS = "None"
"""``cluster_ip`` of a headless service."""


class ObjectReference(KubeStruct, frozen=True, kw_only=True):
    """An object, named from elsewhere."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class ServicePort(KubeStruct, frozen=True, kw_only=True):
    """One port of a service; ``target_port`` None is ``port`` itself."""

    port: int
    name: str = ""
    protocol: str = ""
    target_port: IntOrString | None = None
    node_port: int = 0
    app_protocol: str | None = None


class ServiceSpec(KubeStruct, frozen=True, kw_only=True):
    """Which pods stand behind one address."""

    selector: Mapping[str, str] = NO_LABELS
    ports: tuple[ServicePort, ...] = ()
    type: str = ""
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_name: str = ""
    publish_not_ready_addresses: bool = False
    session_affinity: str = ""
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None


class ServiceStatus(KubeStruct, frozen=True, kw_only=True):
    """Load balancer, if there is one."""

    conditions: tuple[Condition, ...] = ()
    load_balancer: Mapping[str, Any] = NOTHING


class Service(KubeObject, frozen=True, kw_only=True):
    """One stable name and address for a set of pods."""

    resource: ClassVar = Resource("", "v1", "Service", "services")

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointPort(KubeStruct, frozen=True, kw_only=True):
    """A port of all addresses of a subset or slice."""

    port: int | None = None
    name: str = ""
    protocol: str = ""
    app_protocol: str | None = None


class EndpointAddress(KubeStruct, frozen=True, kw_only=True):
    """One address behind a service."""

    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubset(KubeStruct, frozen=True, kw_only=True):
    """Addresses with the same ports."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(KubeObject, frozen=True, kw_only=True):
    """The addresses of one service, in the older form."""

    resource: ClassVar = Resource("", "v1", "Endpoints", "endpoints")

    subsets: tuple[EndpointSubset, ...] = ()
