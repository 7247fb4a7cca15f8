"""What pods ask for beside room: tolerations, node terms, pod terms, spreading. Values; no cluster in sight."""

from collections.abc import Mapping
from typing import NamedTuple

from ketch.kube.selectors import Requirement, Selector

NODE_NAME_FIELD = "metadata.name"
HOSTNAME_LABEL = "kubernetes.io/hostname"
"""The one label that no two nodes share."""

HARD_EFFECTS = ("NoSchedule", "NoExecute")

Labels = Mapping[str, str]


class Taint(NamedTuple):
    """A node's reason to keep pods away."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{{{self.key}: {self.value}}}"


class Toleration(NamedTuple):
    """What a pod puts up with. An empty key with Exists tolerates everything; an empty effect every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        """Whether the taint keeps the pod away no longer."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


class NodeTerm(NamedTuple):
    """One alternative of a node affinity: all expressions over labels and fields must hold; none at all never do."""

    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]

    def matches(self, name: str, labels: Labels) -> bool:
        """Whether the node ``name`` with ``labels`` is meant."""
        if not self.labels and not self.fields:
            return False
        fields = {NODE_NAME_FIELD: name}
        return all(term.matches(labels) for term in self.labels) and all(term.matches(fields) for term in self.fields)

    @property
    def tells_apart(self) -> bool:
        """Whether nodes that are alike but for their names may fare differently."""
        return bool(self.fields) or any(each.key == HOSTNAME_LABEL for each in self.labels)

    @property
    def named(self) -> frozenset[str] | None:
        """The only nodes that can be meant, by name; None where others can."""
        found = (each for each in self.fields if each.key == NODE_NAME_FIELD and each.operator == "In")
        return next((each.values for each in found), None)


class PodTerm(NamedTuple):
    """Pods to be near to, or apart from, within one ``topology`` domain.

    ``namespaces`` are meant, and those whose labels ``namespace_selector`` selects (None: no others).
    """

    selector: Selector | None
    topology: str
    namespaces: frozenset[str]
    namespace_selector: Selector | None = None

    def matches(self, namespace: str, namespace_labels: Labels, labels: Labels) -> bool:
        """Whether a pod with ``labels`` in ``namespace`` is meant."""
        if self.selector is None or not self.selector.matches(labels):
            return False
        if namespace in self.namespaces:
            return True
        return self.namespace_selector is not None and self.namespace_selector.matches(namespace_labels)


class Spread(NamedTuple):
    """A topology spread constraint: no domain may hold ``skew`` more of the ``group`` than the emptiest."""

    group: PodTerm
    skew: int
    hard: bool
    least_domains: int = 1
    honours_affinity: bool = True
    honours_taints: bool = False
