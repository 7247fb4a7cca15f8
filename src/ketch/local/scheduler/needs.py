"""What a pod needs of a node, read off its spec once: hashable, and equal for pods that fit the same nodes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ketch.kube.codec import decode
from ketch.kube.meta import LabelSelector
from ketch.kube.quantities import QuantityError, milli, whole
from ketch.kube.selectors import Requirement, Selector, from_label_selector
from ketch.kube.types.containers import Container
from ketch.kube.types.pods import Pod, PodSpec
from ketch.local.scheduler.terms import HOSTNAME_LABEL, Labels, NodeTerm, PodTerm, Spread, Toleration

CPU, MEMORY, PODS = "cpu", "memory", "pods"
REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
NEVER = "Never"
"""A ``preemptionPolicy``: the pod waits for room, however dear it is."""
SIDECAR = "Always"
"""``restartPolicy`` of an init container that runs beside the others."""
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the wildcard of a host port, nothing is bound to it


class Port(NamedTuple):
    """A port of the host that a pod takes."""

    address: str
    protocol: str
    number: int


@dataclass(frozen=True)
class Needs:
    """Amounts are whole: cpu in thousandths, all else in its unit.

    ``ports`` are those of the host that the pod asks for; ``listens`` all that it says it listens on, wherever that is.
    ``priority`` and ``preempts`` say whose room it may take.
    ``labels`` only tell needs apart when the pod's own terms look at them; then they are in ``identity`` too.
    """

    namespace: str
    resources: tuple[tuple[str, int], ...] = ()
    node_selector: tuple[tuple[str, str], ...] = ()
    node_terms: tuple[NodeTerm, ...] | None = None
    preferred_nodes: tuple[tuple[int, NodeTerm], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    ports: tuple[Port, ...] = ()
    listens: tuple[Port, ...] = ()
    claims: tuple[str, ...] = ()
    near: tuple[PodTerm, ...] = ()
    apart: tuple[PodTerm, ...] = ()
    preferred_pods: tuple[tuple[int, PodTerm], ...] = ()
    spreads: tuple[Spread, ...] = ()
    identity: tuple[tuple[str, str], ...] = ()
    priority: int = 0
    preempts: bool = True
    labels: Labels = field(default_factory=dict[str, str], compare=False)

    @cached_property
    def named(self) -> frozenset[str] | None:
        """The only nodes that the pod may be on, by name, as DaemonSets say it; None where it says nothing of names."""
        names = [term.named for term in self.node_terms or ()]
        known = [each for each in names if each is not None]
        return frozenset[str]().union(*known) if known and len(known) == len(names) else None

    @cached_property
    def tells_nodes_apart(self) -> bool:
        """Whether nodes that are alike may be good for the pod in different degrees, whatever is on them."""
        terms = (*(self.node_terms or ()), *(term for _, term in self.preferred_nodes))
        return (
            bool(self.preferred_pods)
            or any(not each.hard for each in self.spreads)
            or any(key == HOSTNAME_LABEL for key, _ in self.node_selector)
            or any(term.tells_apart for term in terms)
        )


def amount(resource: str, quantity: str) -> int:
    """A quantity of ``resource`` as a whole number; 0 for what is no quantity."""
    try:
        return milli(quantity) if resource == CPU else whole(quantity)
    except QuantityError:
        return 0


def amounts(quantities: Mapping[str, str]) -> Counter[str]:
    """Quantities as whole numbers."""
    return Counter({resource: amount(resource, quantity) for resource, quantity in quantities.items()})


def _at_least(one: Counter[str], other: Counter[str]) -> Counter[str]:
    return Counter({name: max(one[name], other[name]) for name in {*one, *other}})


def _sum(one: Counter[str], other: Counter[str]) -> Counter[str]:
    return Counter({name: one[name] + other[name] for name in {*one, *other}})


def requests(spec: PodSpec) -> Counter[str]:
    """What the node must have free for the pod, by resource.

    Init containers run one after the other, before the others but beside the sidecars begun so far: the pod needs the
    most that any moment needs, and its overhead. Amounts asked for the pod as a whole go before that sum.
    """
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for container in spec.init_containers:
        own = amounts(container.resources.requests)
        if container.restart_policy == SIDECAR:
            running = _sum(running, own)
            most = _at_least(most, running)
        else:
            most = _at_least(most, _sum(running, own))
    for container in spec.containers:
        running = _sum(running, amounts(container.resources.requests))
    total = _at_least(most, running)
    whole_pod: Mapping[str, Any] = spec.unknown_fields.get("resources") or {}
    for resource, quantity in amounts(whole_pod.get("requests") or {}).items():
        total[resource] = quantity
    return _sum(total, amounts(spec.overhead))


def needs_of(pod: Pod) -> Needs:
    """Read a pod's needs."""
    spec, namespace, labels = pod.spec, pod.metadata.namespace, pod.metadata.labels
    affinity = spec.affinity
    nodes: Mapping[str, Any] = affinity.get("nodeAffinity") or {}
    near: Mapping[str, Any] = affinity.get("podAffinity") or {}
    apart: Mapping[str, Any] = affinity.get("podAntiAffinity") or {}
    required: Mapping[str, Any] | None = nodes.get(REQUIRED)
    near_terms = _pod_terms(near.get(REQUIRED), namespace, labels)
    apart_terms = _pod_terms(apart.get(REQUIRED), namespace, labels)
    preferred = (
        *_weighted(near.get(PREFERRED), namespace, labels, 1),
        *_weighted(apart.get(PREFERRED), namespace, labels, -1),
    )
    spreads = tuple(_spread(item, namespace, labels) for item in spec.topology_spread_constraints)
    looks_at_labels = near_terms or apart_terms or preferred or spreads
    containers = (*spec.containers, *spec.init_containers)
    return Needs(
        namespace=namespace,
        resources=tuple(sorted((name, number) for name, number in requests(spec).items() if number)),
        node_selector=tuple(sorted(spec.node_selector.items())),
        node_terms=None if required is None else tuple(map(_node_term, required.get("nodeSelectorTerms") or ())),
        preferred_nodes=tuple(
            (int(item["weight"]), _node_term(item.get("preference") or {})) for item in nodes.get(PREFERRED) or ()
        ),
        tolerations=tuple(
            Toleration(item.key, item.operator or "Equal", item.value, item.effect) for item in spec.tolerations
        ),
        ports=_ports(containers, host=spec.host_network),
        listens=tuple(
            Port(EVERYWHERE, port.protocol or "TCP", port.container_port)
            for container in containers
            for port in container.ports
        ),
        claims=_claims(pod),
        near=near_terms,
        apart=apart_terms,
        preferred_pods=preferred,
        spreads=spreads,
        identity=tuple(sorted(labels.items())) if looks_at_labels else (),
        priority=spec.priority or 0,
        preempts=spec.preemption_policy != NEVER,
        labels=labels,
    )


def _ports(containers: Iterable[Container], *, host: bool) -> tuple[Port, ...]:
    ports = [port for container in containers for port in container.ports]
    numbers = [port.host_port or (port.container_port if host else 0) for port in ports]
    return tuple(
        Port(port.host_ip or EVERYWHERE, port.protocol or "TCP", number)
        for port, number in zip(ports, numbers, strict=True)
        if number
    )


def claims_of(pod: Pod) -> Iterator[str]:
    """The claims that the pod mounts, as text."""
    return (f"{pod.metadata.namespace}/{name}" for name in _claims(pod))


def _claims(pod: Pod) -> tuple[str, ...]:
    """Names of the claims that the pod mounts; those made for it are named after pod and volume."""
    names: list[str] = []
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            names.append(volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None:
            names.append(f"{pod.metadata.name}-{volume.name}")
    return tuple(names)


def _requirement(item: Mapping[str, Any]) -> Requirement:
    return Requirement(str(item.get("key", "")), str(item.get("operator", "")), frozenset(item.get("values") or ()))


def _node_term(item: Mapping[str, Any]) -> NodeTerm:
    labels = tuple(_requirement(each) for each in item.get("matchExpressions") or ())
    return NodeTerm(labels, tuple(_requirement(each) for each in item.get("matchFields") or ()))


def node_terms(affinity: Mapping[str, Any]) -> tuple[NodeTerm, ...] | None:
    """The terms of a PersistentVolume's node affinity; None when it has none."""
    required: Mapping[str, Any] | None = affinity.get("required")
    return None if not required else tuple(map(_node_term, required.get("nodeSelectorTerms") or ()))


def _selector(raw: Mapping[str, Any] | None) -> Selector | None:
    return from_label_selector(None if raw is None else decode(LabelSelector, raw))


def _group(item: Mapping[str, Any], namespace: str, labels: Labels) -> PodTerm:
    """The pods that a term or constraint means."""
    selector = _selector(item.get("labelSelector"))
    if selector is not None:
        same = [
            Requirement(key, "In", frozenset({labels[key]}))
            for key in item.get("matchLabelKeys") or ()
            if key in labels
        ]
        other = [
            Requirement(key, "NotIn", frozenset({labels[key]}))
            for key in item.get("mismatchLabelKeys") or ()
            if key in labels
        ]
        selector = Selector((*selector.requirements, *same, *other))
    named, by_label = item.get("namespaces") or (), item.get("namespaceSelector")
    own = frozenset(named) if named or by_label is not None else frozenset({namespace})
    return PodTerm(selector, str(item.get("topologyKey", "")), own, _selector(by_label))


def _pod_terms(items: Sequence[Mapping[str, Any]] | None, namespace: str, labels: Labels) -> tuple[PodTerm, ...]:
    return tuple(_group(item, namespace, labels) for item in items or ())


def _weighted(
    items: Sequence[Mapping[str, Any]] | None, namespace: str, labels: Labels, sign: int
) -> tuple[tuple[int, PodTerm], ...]:
    return tuple(
        (sign * int(item["weight"]), _group(item.get("podAffinityTerm") or {}, namespace, labels))
        for item in items or ()
    )


def _spread(item: Mapping[str, Any], namespace: str, labels: Labels) -> Spread:
    return Spread(
        group=_group(item, namespace, labels),
        skew=int(item.get("maxSkew", 1)),
        hard=item.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        least_domains=int(item.get("minDomains") or 1),
        honours_affinity=item.get("nodeAffinityPolicy", "Honor") == "Honor",
        honours_taints=item.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )
