"""Which pod goes when something runs short, and what it is told. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ketch.kube.quantities import QuantityError, whole
from ketch.kube.types.core import Pod
from ketch.local.node.pressure.machine import INODES, Supply

CRITICAL = 2_000_000_000
"""Pods of this priority or a higher one keep the cluster itself going: they are not evicted."""

WORTHWHILE = 100
"""A pod that takes less than the least that should be left, divided by this, does not go: it would be of no help."""

UNITS = ("Ki", "Mi", "Gi", "Ti")
COUNTED = frozenset({INODES})
"""What is counted, not measured in bytes; pods cannot ask for it."""


@dataclass(frozen=True)
class Candidate:
    """A pod that might go, and what each of its containers takes; "" is what no container takes alone."""

    pod: Pod
    used: Mapping[str, int]


def requested(pod: Pod, container: str, resource: str) -> int:
    """What a container has asked for."""
    for each in (*pod.spec.containers, *pod.spec.init_containers):
        if each.name == container:
            try:
                return whole(each.resources.requests.get(resource, "0"))
            except QuantityError:
                return 0
    return 0


def first_to_go(candidates: Iterable[Candidate], supply: Supply) -> Candidate | None:
    """As a kubelet ranks: who takes more than it asked for, then who matters less, then who takes most beyond that."""
    resource = supply.resource

    def rank(each: Candidate) -> tuple[bool, int, int]:
        beyond = sum(each.used.values()) - sum(requested(each.pod, name, resource) for name in each.used)
        return beyond <= 0, each.pod.spec.priority or 0, -beyond

    able = [
        each
        for each in candidates
        if (each.pod.spec.priority or 0) < CRITICAL and sum(each.used.values()) * WORTHWHILE >= max(1, supply.least)
    ]
    return min(able, key=rank, default=None)


def quantity(amount: int) -> str:
    """Bytes as the API writes them: the largest unit that keeps them exact."""
    unit = ""
    for larger in UNITS:
        if amount == 0 or amount % 1024:
            break
        amount, unit = amount // 1024, larger
    return f"{amount}{unit}"


def message(candidate: Candidate, supply: Supply) -> str:
    """What the pod's status says, in a kubelet's words."""
    resource = supply.resource
    amount = str if resource in COUNTED else quantity
    text = (
        f"The node was low on resource: {resource}. "
        f"Threshold quantity: {amount(supply.least)}, available: {amount(supply.left)}. "
    )
    for name, used in candidate.used.items():
        asked = requested(candidate.pod, name, resource)
        if name and used > asked:
            text += (
                f"Container {name} was using {amount(used)}, request is {amount(asked)}, "
                f"has larger consumption of {resource}. "
            )
    return text
