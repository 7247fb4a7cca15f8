"""Tells the network daemon of NetworkPolicies, as a network plugin does. ``entries`` is pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError

from ketch.kube.clock import Clock
from ketch.kube.informer import Informer
from ketch.kube.manager import Manager
from ketch.kube.meta import LabelSelector
from ketch.kube.selectors import Labels, matcher
from ketch.kube.types.core import Namespace, Pod
from ketch.kube.types.networking import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from ketch.local.network.client import (
    Block,
    Direction,
    NetworkClient,
    Opening,
    PolicyEntry,
    PortRange,
    TransportProtocol,
)
from ketch.local.node.services.telling import LivingPods, Telling

RETRY_SECONDS = 5.0
PAUSE = 0.05
"""Seconds between two tellings, each of which costs as much as there are policies and pods."""

PROTOCOLS: Mapping[str, TransportProtocol] = {"": "TCP", "TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"}
INGRESS, EGRESS = "Ingress", "Egress"

Pods = Mapping[str, Sequence[Pod]]
"""Pods with an address of their own, by namespace."""


def _selected(pods: Iterable[Pod], selector: LabelSelector | None) -> list[Pod]:
    matches = matcher(selector)
    return [pod for pod in pods if matches(pod.metadata.labels)]


def _behind(peer: NetworkPolicyPeer, namespace: str, pods: Pods, namespaces: Mapping[str, Labels]) -> list[Pod]:
    """The pods that a peer means: of the policy's own namespace, or of those that the peer selects."""
    if peer.namespace_selector is None:
        return _selected(pods.get(namespace, ()), peer.pod_selector)
    among = matcher(peer.namespace_selector)
    found = (pod for name, labels in namespaces.items() if among(labels) for pod in pods.get(name, ()))
    return _selected(found, peer.pod_selector) if peer.pod_selector is not None else list(found)


def _block(block: IPBlock) -> Block | None:
    """The block in the form that the network reads; pods have no addresses in others (IPv6)."""
    try:
        cidr = str(IPv4Network(block.cidr, strict=False))
        return Block(cidr, tuple(str(IPv4Network(each, strict=False)) for each in block.exceptions))
    except (AddressValueError, NetmaskValueError, ValueError):
        return None


def _named(port: NetworkPolicyPort, pods: Iterable[Pod]) -> set[int]:
    """The numbers that these pods' containers give to a name."""
    protocol = PROTOCOLS.get(port.protocol)
    return {
        each.container_port
        for pod in pods
        for container in pod.spec.containers
        for each in container.ports
        if each.name == port.port and PROTOCOLS.get(each.protocol) == protocol
    }


def _ports(ports: Sequence[NetworkPolicyPort], receivers: Sequence[Pod]) -> list[PortRange]:
    found: list[PortRange] = []
    for each in ports:
        protocol = PROTOCOLS.get(each.protocol)
        if protocol is None:
            continue
        if each.port is None:
            found.append(PortRange(protocol))
        elif isinstance(each.port, int):
            found.append(PortRange(protocol, each.port, each.end_port or each.port))
        else:
            found += [PortRange(protocol, number, number) for number in sorted(_named(each, receivers))]
    return found


def _addresses(pods: Iterable[Pod]) -> tuple[str, ...]:
    return tuple(sorted({pod.status.pod_ip for pod in pods}))


def _opening(
    peers: Sequence[NetworkPolicyPeer],
    ports: Sequence[NetworkPolicyPort],
    behind: Callable[[NetworkPolicyPeer], list[Pod]],
    receivers: Sequence[Pod] | None,
) -> Opening | None:
    """What one rule opens; None when it names ports, and nobody has one. Ingress says who the ``receivers`` are."""
    selected = [pod for peer in peers if peer.ip_block is None for pod in behind(peer)]
    numbers = _ports(ports, selected if receivers is None else receivers)
    if ports and not numbers:
        return None
    blocks = (_block(peer.ip_block) for peer in peers if peer.ip_block is not None)
    kept = tuple(block for block in blocks if block is not None)
    return Opening(not peers, _addresses(selected), kept, tuple(numbers))


def _policy_entries(policy: NetworkPolicy, pods: Pods, namespaces: Mapping[str, Labels]) -> Iterable[PolicyEntry]:
    namespace, spec = policy.metadata.namespace, policy.spec
    own = _selected(pods.get(namespace, ()), spec.pod_selector)
    if not own:
        return

    def behind(peer: NetworkPolicyPeer) -> list[Pod]:
        return _behind(peer, namespace, pods, namespaces)

    def entry(direction: Direction, openings: Iterable[Opening | None]) -> PolicyEntry:
        return PolicyEntry(direction, _addresses(own), tuple(each for each in openings if each is not None))

    types = spec.policy_types or (INGRESS, *((EGRESS,) if spec.egress else ()))
    if INGRESS in types:
        yield entry("ingress", (_opening(rule.sources, rule.ports, behind, own) for rule in spec.ingress))
    if EGRESS in types:
        yield entry("egress", (_opening(rule.to, rule.ports, behind, None) for rule in spec.egress))


def entries(
    policies: Iterable[NetworkPolicy], pods: Iterable[Pod], namespaces: Iterable[Namespace]
) -> tuple[PolicyEntry, ...]:
    """The whole table. Each policy is held against the pods of the namespaces that it speaks of."""
    by_namespace: dict[str, list[Pod]] = {}
    for pod in pods:
        if pod.status.pod_ip and not pod.spec.host_network:
            by_namespace.setdefault(pod.metadata.namespace, []).append(pod)
    labels = {each.metadata.name: each.metadata.labels for each in namespaces}
    ordered = sorted(policies, key=lambda each: each.key)
    return tuple(entry for policy in ordered for entry in _policy_entries(policy, by_namespace, labels))


class Policies:
    """Keeps the network daemon's table like the API's; without policies, pods that come and go cost nothing."""

    def __init__(self, manager: Manager, network: NetworkClient, pods: Informer[Pod], clock: Clock) -> None:
        self._policies = manager.informer(NetworkPolicy)
        self._namespaces = manager.informer(Namespace)
        self._network = network
        self._told: tuple[PolicyEntry, ...] | None = None
        self._telling = Telling(self._tell, clock, pause=PAUSE, retry=RETRY_SECONDS)
        self._alive = LivingPods(pods, _seen, self._pod_changed)
        self._policies.add_handler(self._telling.on_change)
        self._namespaces.add_handler(self._telling.on_change)

    def _pod_changed(self) -> None:
        if self._policies.list():
            self._telling.changed()

    async def run(self) -> None:
        """Go on until cancelled."""
        await self._telling.run()

    async def _tell(self) -> None:
        wanted = entries(self._policies.list(), self._alive.all(), self._namespaces.list())
        if wanted != self._told and (wanted or self._told is not None or self._policies.list()):
            await self._network.set_policies(wanted)
            self._told = wanted


def _seen(pod: Pod) -> tuple[str, Labels]:
    """What of a pod a policy looks at."""
    return pod.status.pod_ip, pod.metadata.labels
