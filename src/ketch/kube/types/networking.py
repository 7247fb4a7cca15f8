"""networking.k8s.io/v1: NetworkPolicy."""

from typing import ClassVar

from msgspec import field

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import KubeObject, LabelSelector, Resource
from ketch.kube.types.containers import IntOrString


class IPBlock(KubeStruct, frozen=True, kw_only=True):
    """Addresses, but for some of them; networks as CIDR."""

    cidr: str = ""
    exceptions: tuple[str, ...] = field(default=(), name="except")


class NetworkPolicyPeer(KubeStruct, frozen=True, kw_only=True):
    """Pods by their labels and those of their namespaces, or addresses."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = field(default=None, name="ipBlock")


class NetworkPolicyPort(KubeStruct, frozen=True, kw_only=True):
    """A port by number or by the name that containers give it, or the ports from ``port`` to ``end_port``."""

    protocol: str = "TCP"
    port: IntOrString | None = None
    end_port: int | None = None


class NetworkPolicyIngressRule(KubeStruct, frozen=True, kw_only=True):
    """Who may come, and to which ports; nothing said of one of them means all."""

    sources: tuple[NetworkPolicyPeer, ...] = field(default=(), name="from")
    ports: tuple[NetworkPolicyPort, ...] = ()


class NetworkPolicyEgressRule(KubeStruct, frozen=True, kw_only=True):
    """Where the pods may go, and to which ports; nothing said of one of them means all."""

    to: tuple[NetworkPolicyPeer, ...] = ()
    ports: tuple[NetworkPolicyPort, ...] = ()


class NetworkPolicySpec(KubeStruct, frozen=True, kw_only=True):
    """The pods that it is for, and what is open to them; ``policy_types``: Ingress, Egress."""

    pod_selector: LabelSelector = LabelSelector()
    policy_types: tuple[str, ...] = ()
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    egress: tuple[NetworkPolicyEgressRule, ...] = ()


class NetworkPolicy(KubeObject, frozen=True, kw_only=True):
    """What may reach pods, and what they may reach: all that a policy is for is closed but for what one opens."""

    resource: ClassVar = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")

    spec: NetworkPolicySpec = NetworkPolicySpec()
