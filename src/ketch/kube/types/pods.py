"""core/v1: Pod and what templates of pods share with it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec import field

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import NO_LABELS, Condition, KubeObject, ObjectMeta, Resource
from ketch.kube.quantities import Quantity
from ketch.kube.types.containers import (
    NO_QUANTITIES,
    NOTHING,
    Container,
    ContainerStatus,
    EphemeralContainer,
    LocalReference,
)
from ketch.kube.types.volumes import Volume


class Sysctl(KubeStruct, frozen=True, kw_only=True):
    """A parameter of the kernel, for the pod alone."""

    name: str
    value: str = ""


class PodSecurityContext(KubeStruct, frozen=True, kw_only=True):
    """Privileges for all containers of a pod."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    seccomp_profile: Mapping[str, Any] = NOTHING


class Toleration(KubeStruct, frozen=True, kw_only=True):
    """A taint that this pod bears. Empty ``effect`` and ``key`` match all."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class HostAlias(KubeStruct, frozen=True, kw_only=True):
    """A line of /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...] = ()


class PodDNSOption(KubeStruct, frozen=True, kw_only=True):
    """An option of resolv.conf."""

    name: str
    value: str | None = None


class PodDNSConfig(KubeStruct, frozen=True, kw_only=True):
    """Additions to resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[PodDNSOption, ...] = ()


class PodReadinessGate(KubeStruct, frozen=True, kw_only=True):
    """A condition that must also hold for the pod to be ready."""

    condition_type: str


class PodSpec(KubeStruct, frozen=True, kw_only=True):
    """What to run. ``affinity`` and topology constraints are plain JSON."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    dns_policy: str = ""
    dns_config: PodDNSConfig | None = None
    node_selector: Mapping[str, str] = NO_LABELS
    node_name: str = ""
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_ipc: bool = field(default=False, name="hostIPC")
    host_users: bool | None = None
    share_process_namespace: bool | None = None
    security_context: PodSecurityContext | None = None
    image_pull_secrets: tuple[LocalReference, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    set_hostname_as_fqdn: bool | None = field(default=None, name="setHostnameAsFQDN")
    affinity: Mapping[str, Any] = NOTHING
    scheduler_name: str = ""
    tolerations: tuple[Toleration, ...] = ()
    host_aliases: tuple[HostAlias, ...] = ()
    priority_class_name: str = ""
    priority: int | None = None
    preemption_policy: str | None = None
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    runtime_class_name: str | None = None
    enable_service_links: bool | None = None
    overhead: Mapping[str, Quantity] = NO_QUANTITIES
    topology_spread_constraints: tuple[Mapping[str, Any], ...] = ()
    scheduling_gates: tuple[Mapping[str, Any], ...] = ()

    def every_container(self) -> tuple[Container, ...]:
        """Init containers, main ones, ephemeral ones."""
        return (*self.init_containers, *self.containers, *self.ephemeral_containers)


class PodCondition(Condition, frozen=True, kw_only=True):
    """A condition of a pod."""

    last_probe_time: datetime | None = None


class PodIP(KubeStruct, frozen=True, kw_only=True):
    """One of a pod's addresses."""

    ip: str


class PodStatus(KubeStruct, frozen=True, kw_only=True):
    """What became of the pod."""

    observed_generation: int = 0
    phase: str = ""
    conditions: tuple[PodCondition, ...] = ()
    message: str = ""
    reason: str = ""
    nominated_node_name: str = ""
    host_ip: str = field(default="", name="hostIP")
    host_ips: tuple[PodIP, ...] = field(default=(), name="hostIPs")
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    start_time: datetime | None = None
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    qos_class: str = ""

    def every_status(self) -> tuple[ContainerStatus, ...]:
        """Of init containers, main ones, ephemeral ones."""
        return (*self.init_container_statuses, *self.container_statuses, *self.ephemeral_container_statuses)


class Pod(KubeObject, frozen=True, kw_only=True):
    """Containers that share a network address and volumes."""

    resource: ClassVar = Resource("", "v1", "Pod", "pods")

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodTemplateSpec(KubeStruct, frozen=True, kw_only=True):
    """The pods that a workload makes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
