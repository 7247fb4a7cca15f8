"""What is where: nodes with running sums, so that a decision costs the same however many pods are placed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ketch.local.scheduler.needs import CPU, EVERYWHERE, MEMORY, Needs, Port
from ketch.local.scheduler.ranks import Likeness, Rank, Ranks
from ketch.local.scheduler.terms import HARD_EFFECTS, HOSTNAME_LABEL, Labels, NodeTerm, PodTerm, Taint

NETWORK_LABEL, HOST_NETWORK = "node.ketch.dev/network", "host"
"""How a node says that its pods have no networks of their own."""

TERM_LIMIT = 512
"""Pod terms that are counted along at once; the oldest are forgotten and counted anew when asked for."""


@dataclass(frozen=True)
class NodeFacts:
    """What a node says of itself, as far as placing depends on it. ``taints`` include not-ready and unschedulable."""

    name: str
    labels: Labels
    taints: tuple[Taint, ...]
    allocatable: Mapping[str, int]

    @cached_property
    def hard_taints(self) -> tuple[Taint, ...]:
        """Those that keep pods away, rather than being held against the node."""
        return tuple(taint for taint in self.taints if taint.effect in HARD_EFFECTS)

    @cached_property
    def likeness(self) -> Likeness:
        """All that it says but its name."""
        labels = frozenset((key, value) for key, value in self.labels.items() if key != HOSTNAME_LABEL)
        return labels, self.taints, frozenset(self.allocatable.items())

    @property
    def shares_network(self) -> bool:
        """Whether its pods live in the network of their host."""
        return self.labels.get(NETWORK_LABEL) == HOST_NETWORK


@dataclass
class NodeState:
    """A node and the sums of what its pods hold. ``facts`` is None while only pods speak of it."""

    name: str
    facts: NodeFacts | None = None
    used: Counter[str] = field(default_factory=Counter[str])
    ports: Counter[Port] = field(default_factory=Counter[Port])
    listening: Counter[Port] = field(default_factory=Counter[Port])
    pods: dict[str, Needs] = field(default_factory=dict[str, Needs])

    def free(self, resource: str) -> int:
        """How much of ``resource`` is left; below zero when the node shrank under its pods."""
        assert self.facts
        return self.facts.allocatable.get(resource, 0) - self.used[resource]

    @property
    def rank(self) -> Rank:
        """Its place among those that are alike: which of them is the best does not depend on what a pod asks for."""
        assert self.facts
        totals = ((resource, self.facts.allocatable.get(resource, 0)) for resource in (CPU, MEMORY))
        empty = sum(max(0, self.free(resource)) / total for resource, total in totals if total)
        return -empty, len(self.pods), self.name

    def port_taken(self, port: Port) -> bool:
        """Whether a pod here listens on the same port of the host; the wildcard address meets every address."""
        if not self.ports:
            return False
        if port.address == EVERYWHERE:
            return any((taken.protocol, taken.number) == (port.protocol, port.number) for taken in self.ports)
        return port in self.ports or port._replace(address=EVERYWHERE) in self.ports

    def listener_taken(self, port: Port) -> bool:
        """Whether a pod here says that it listens on the same port, in a network that it shares with all others."""
        return self.facts is not None and self.facts.shares_network and port in self.listening

    def add(self, uid: str, needs: Needs) -> None:
        """Take up a pod."""
        self.pods[uid] = needs
        for resource, amount in needs.resources:
            self.used[resource] += amount
        self.ports.update(needs.ports)
        self.listening.update(needs.listens)

    def remove(self, uid: str) -> None:
        """Let a pod go."""
        needs = self.pods.pop(uid)
        for resource, amount in needs.resources:
            self.used[resource] -= amount
        for taken, ports in ((self.ports, needs.ports), (self.listening, needs.listens)):
            for port in ports:
                taken[port] -= 1
                if not taken[port]:
                    del taken[port]


class State:
    """All nodes with their pods, those that are only assumed included.

    Invariants: ``_placed[uid]`` names the one node in whose sums the pod ``uid`` is; ``_ranks`` has every node that
    exists at its place.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, NodeState] = {}
        self._ranks = Ranks()
        self._placed: dict[str, str] = {}
        self._counted: dict[PodTerm, Counter[str]] = {}
        self._kept_apart: dict[PodTerm, Counter[str]] = {}
        self._namespaces: dict[str, Labels] = {}

    # nodes ------------------------------------------------------------------------------------------------------

    def nodes(self) -> Iterator[NodeState]:
        """The nodes that exist."""
        return (node for node in self._nodes.values() if node.facts is not None)

    def node(self, name: str) -> NodeState | None:
        """The node, if it exists."""
        found = self._nodes.get(name)
        return found if found and found.facts else None

    def set_node(self, facts: NodeFacts) -> bool:
        """Take in what a node says; whether anything changed."""
        node = self._nodes.setdefault(facts.name, NodeState(facts.name))
        changed, node.facts = node.facts != facts, facts
        self._rank(node)
        return changed

    def _rank(self, node: NodeState) -> None:
        if node.facts is not None:
            self._ranks.put(node.facts.likeness, node.rank)

    def alike(self) -> Iterator[Iterator[NodeState]]:
        """The nodes that exist, those that are alike together, the best of them first."""
        for names in self._ranks.alike():
            yield map(self._nodes.__getitem__, names)

    def remove_node(self, name: str) -> None:
        """The node is gone; its pods count until they are gone too."""
        self._ranks.drop(name)
        if node := self._nodes.get(name):
            node.facts = None
            if not node.pods:
                del self._nodes[name]

    def emptied(self) -> "State":
        """The same nodes without any pods: what the cluster could hold at all."""
        empty = State()
        empty._namespaces = dict(self._namespaces)
        for node in self._nodes.values():
            if node.facts is not None:
                empty.set_node(node.facts)
        return empty

    def set_namespace(self, name: str, labels: Labels | None) -> None:
        """Labels of a namespace, by which pod terms may select it; None when it is gone."""
        if labels is None:
            self._namespaces.pop(name, None)
        elif self._namespaces.get(name) != labels:
            self._namespaces[name] = labels
            self._counted.clear()

    def namespace_labels(self, name: str) -> Labels:
        """What pod terms see of a namespace."""
        return self._namespaces.get(name, {})

    # pods -------------------------------------------------------------------------------------------------------

    def node_of(self, uid: str) -> str:
        """The node that the pod is reckoned to be on; empty for none."""
        return self._placed.get(uid, "")

    def place(self, uid: str, needs: Needs, name: str) -> bool:
        """The pod sits, or will sit, on the node; whether that is new. Placing again moves it or changes nothing."""
        if self._placed.get(uid) == name:
            return False
        self.displace(uid)
        node = self._nodes.setdefault(name, NodeState(name))
        node.add(uid, needs)
        self._rank(node)
        self._placed[uid] = name
        self._count(needs, name, 1)
        return True

    def displace(self, uid: str) -> bool:
        """The pod holds nothing any more; whether it did."""
        name = self._placed.pop(uid, None)
        if name is None:
            return False
        node = self._nodes[name]
        self._count(node.pods[uid], name, -1)
        node.remove(uid)
        self._rank(node)
        if node.facts is None and not node.pods:
            del self._nodes[name]
        return True

    def _count(self, needs: Needs, name: str, change: int) -> None:
        for term in needs.apart:
            holders = self._kept_apart.setdefault(term, Counter())
            holders[name] += change
            if not holders[name]:
                del holders[name]
            if not holders:
                del self._kept_apart[term]
        for term, counts in self._counted.items():
            if self._is_meant(term, needs):
                counts[name] += change

    def _is_meant(self, term: PodTerm, needs: Needs) -> bool:
        return term.matches(needs.namespace, self.namespace_labels(needs.namespace), needs.labels)

    # domains ----------------------------------------------------------------------------------------------------

    def counts(self, term: PodTerm) -> Counter[str]:
        """How many pods that ``term`` means sit on each node; counted once, kept up from then on."""
        found = self._counted.get(term)
        if found is None:
            while len(self._counted) >= TERM_LIMIT:
                del self._counted[next(iter(self._counted))]
            found = self._counted[term] = Counter(
                {
                    node.name: sum(self._is_meant(term, needs) for needs in node.pods.values())
                    for node in self._nodes.values()
                }
            )
        return found

    def by_domain(self, term: PodTerm) -> Counter[str]:
        """The same by domain: by the value of the term's topology label."""
        return self._in_domains(self.counts(term), term.topology)

    def forbidden_domains(self, needs: Needs) -> dict[str, set[str]]:
        """Domains, by topology label, whose pods want such a pod kept away."""
        found: dict[str, set[str]] = {}
        labels = self.namespace_labels(needs.namespace)
        for term, holders in self._kept_apart.items():
            if term.matches(needs.namespace, labels, needs.labels):
                domains = self._in_domains(holders, term.topology)
                found.setdefault(term.topology, set()).update(domains)
        return found

    def _in_domains(self, counts: Counter[str], topology: str) -> Counter[str]:
        result: Counter[str] = Counter()
        for name, count in counts.items():
            node = self.node(name)
            domain = node.facts.labels.get(topology) if node and node.facts else None
            if domain is not None and count:
                result[domain] += count
        return result


def selected(terms: tuple[NodeTerm, ...] | None, facts: NodeFacts) -> bool:
    """Whether a node affinity means the node; None means every node."""
    return terms is None or any(term.matches(facts.name, facts.labels) for term in terms)
