"""discovery.k8s.io/v1: EndpointSlice."""

from typing import ClassVar

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import KubeObject, Resource
from ketch.kube.types.services import EndpointPort, ObjectReference

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"


class EndpointConditions(KubeStruct, frozen=True, kw_only=True):
    """None is unknown; unknown readiness counts as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(KubeStruct, frozen=True, kw_only=True):
    """One pod behind a service."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None


class EndpointSlice(KubeObject, frozen=True, kw_only=True):
    """Some of the addresses of a service, which the label ``kubernetes.io/service-name`` names."""

    resource: ClassVar = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")

    address_type: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
