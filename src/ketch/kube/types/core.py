"""core/v1: the module to import its kinds from; pods, volumes and services have files of their own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec import field

from ketch.kube.codec import KubeStruct, MicroTime
from ketch.kube.meta import NO_LABELS, Condition, KubeObject, Resource
from ketch.kube.quantities import Quantity
from ketch.kube.types.containers import NO_QUANTITIES, NOTHING, LocalReference
from ketch.kube.types.pods import Pod, PodSpec, PodStatus, PodTemplateSpec, Toleration
from ketch.kube.types.services import Endpoints, ObjectReference, Service
from ketch.kube.types.volumes import ClaimSpec

__all__ = [
    "ClaimSpec",
    "ConfigMap",
    "ContainerImage",
    "Endpoints",
    "Event",
    "EventSource",
    "Namespace",
    "NamespaceSpec",
    "NamespaceStatus",
    "Node",
    "NodeAddress",
    "NodeCondition",
    "NodeSpec",
    "NodeStatus",
    "NodeSystemInfo",
    "ObjectReference",
    "PersistentCSIVolume",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PersistentVolumeClaimStatus",
    "PersistentVolumeSpec",
    "PersistentVolumeStatus",
    "Pod",
    "PodSpec",
    "PodStatus",
    "PodTemplateSpec",
    "Secret",
    "Service",
    "ServiceAccount",
    "Taint",
    "Toleration",
]


class ConfigMap(KubeObject, frozen=True, kw_only=True):
    """Texts by key; ``binary_data`` is base64."""

    resource: ClassVar = Resource("", "v1", "ConfigMap", "configmaps")

    data: Mapping[str, str] = NO_LABELS
    binary_data: Mapping[str, str] = NO_LABELS
    immutable: bool | None = None


class Secret(KubeObject, frozen=True, kw_only=True):
    """Bytes by key, as base64; ``string_data`` may be written, never read."""

    resource: ClassVar = Resource("", "v1", "Secret", "secrets")

    type: str = ""
    data: Mapping[str, str] = NO_LABELS
    string_data: Mapping[str, str] = NO_LABELS
    immutable: bool | None = None


class ServiceAccount(KubeObject, frozen=True, kw_only=True):
    """Who a pod is to the API."""

    resource: ClassVar = Resource("", "v1", "ServiceAccount", "serviceaccounts")

    secrets: tuple[ObjectReference, ...] = ()
    image_pull_secrets: tuple[LocalReference, ...] = ()
    automount_service_account_token: bool | None = None


class NamespaceSpec(KubeStruct, frozen=True, kw_only=True):
    """``finalizers`` must be empty before a namespace goes."""

    finalizers: tuple[str, ...] = ()


class NamespaceStatus(KubeStruct, frozen=True, kw_only=True):
    """``phase`` is Active or Terminating."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Namespace(KubeObject, frozen=True, kw_only=True):
    """A scope for names."""

    resource: ClassVar = Resource("", "v1", "Namespace", "namespaces", namespaced=False)

    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class EventSource(KubeStruct, frozen=True, kw_only=True):
    """Who saw it, and where."""

    component: str = ""
    host: str = ""


class Event(KubeObject, frozen=True, kw_only=True):
    """Something worth telling a person happened to an object; ``type`` is Normal or Warning."""

    resource: ClassVar = Resource("", "v1", "Event", "events")

    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    type: str = ""
    source: EventSource = EventSource()
    count: int = 0
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: MicroTime | None = None
    action: str = ""
    reporting_component: str = ""
    reporting_instance: str = ""


class Taint(KubeStruct, frozen=True, kw_only=True):
    """What keeps pods off a node unless they tolerate it."""

    key: str
    effect: str
    value: str = ""
    time_added: datetime | None = None


class NodeSpec(KubeStruct, frozen=True, kw_only=True):
    """What an administrator says of a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    provider_id: str = field(default="", name="providerID")


class NodeCondition(Condition, frozen=True, kw_only=True):
    """A condition of a node, with the time of the last sign of life."""

    last_heartbeat_time: datetime | None = None


class NodeAddress(KubeStruct, frozen=True, kw_only=True):
    """``type`` is Hostname, InternalIP, ..."""

    type: str
    address: str


class NodeSystemInfo(KubeStruct, frozen=True, kw_only=True):
    """What the machine is; the API requires every one of these."""

    machine_id: str | None = field(default=None, name="machineID")
    system_uuid: str | None = field(default=None, name="systemUUID")
    boot_id: str | None = field(default=None, name="bootID")
    kernel_version: str | None = None
    os_image: str | None = None
    container_runtime_version: str | None = None
    kubelet_version: str | None = None
    kube_proxy_version: str | None = None
    operating_system: str | None = None
    architecture: str | None = None


class ContainerImage(KubeStruct, frozen=True, kw_only=True):
    """An image that a node has."""

    names: tuple[str, ...] = ()
    size_bytes: int | None = None


class NodeStatus(KubeStruct, frozen=True, kw_only=True):
    """What the node agent says of its node; quantities as text."""

    capacity: Mapping[str, Quantity] = NO_QUANTITIES
    allocatable: Mapping[str, Quantity] = NO_QUANTITIES
    conditions: tuple[NodeCondition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    daemon_endpoints: Mapping[str, Any] = NOTHING
    node_info: NodeSystemInfo | None = None
    images: tuple[ContainerImage, ...] = ()


class Node(KubeObject, frozen=True, kw_only=True):
    """A machine that runs pods."""

    resource: ClassVar = Resource("", "v1", "Node", "nodes", namespaced=False)

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class PersistentVolumeClaimStatus(KubeStruct, frozen=True, kw_only=True):
    """``phase`` is Pending, Bound or Lost."""

    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, Quantity] = NO_QUANTITIES
    conditions: tuple[Condition, ...] = ()


class PersistentVolumeClaim(KubeObject, frozen=True, kw_only=True):
    """A request for storage."""

    resource: ClassVar = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")

    spec: ClaimSpec = ClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


class PersistentCSIVolume(KubeStruct, frozen=True, kw_only=True):
    """A volume that a driver made: ``volume_handle`` is the driver's name for it."""

    driver: str
    volume_handle: str
    read_only: bool = False
    fs_type: str = ""
    volume_attributes: Mapping[str, str] = NO_LABELS


class PersistentVolumeSpec(KubeStruct, frozen=True, kw_only=True):
    """A piece of storage, and the claim it is bound to."""

    capacity: Mapping[str, Quantity] = NO_QUANTITIES
    access_modes: tuple[str, ...] = ()
    csi: PersistentCSIVolume | None = None
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str | None = None
    node_affinity: Mapping[str, Any] = NOTHING


class PersistentVolumeStatus(KubeStruct, frozen=True, kw_only=True):
    """``phase`` is Available, Bound, Released or Failed."""

    phase: str = ""
    message: str = ""
    reason: str = ""
    last_phase_transition_time: datetime | None = None


class PersistentVolume(KubeObject, frozen=True, kw_only=True):
    """Storage that outlives pods."""

    resource: ClassVar = Resource("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)

    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()
