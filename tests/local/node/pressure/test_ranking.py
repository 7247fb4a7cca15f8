"""Who goes first, and in which words."""

from typing import Any

import pytest

from ketch.kube.codec import decode
from ketch.kube.types.core import Pod
from ketch.local.node.pressure.machine import DISK, INODES, MEMORY, Supply
from ketch.local.node.pressure.ranking import CRITICAL, Candidate, first_to_go, message, quantity

LOW = Supply(DISK, "ephemeral-storage", left=1 << 20, least=1 << 30)
SLIGHT = Supply(DISK, "ephemeral-storage", left=0, least=10)


def candidate(name: str, used: int, request: str = "0", priority: int = 0, volumes: int = 0) -> Candidate:
    resources = {"requests": {"ephemeral-storage": request, "memory": request}}
    container = {"name": "main", "image": "i", "resources": resources}
    body: dict[str, Any] = {"metadata": {"name": name}, "spec": {"priority": priority, "containers": [container]}}
    return Candidate(decode(Pod, body), {"main": used, "": volumes})


@pytest.mark.parametrize(
    ("candidates", "first"),
    [
        pytest.param([candidate("a", 10), candidate("b", 20)], "b", id="who takes most"),
        pytest.param([candidate("a", 10), candidate("b", 0, volumes=20)], "b", id="volumes count"),
        pytest.param([candidate("a", 10), candidate("b", 90, "100")], "a", id="who asked for it stays"),
        pytest.param([candidate("a", 10, priority=5), candidate("b", 1)], "b", id="who matters less"),
        pytest.param([candidate("a", 30, "25"), candidate("b", 10)], "b", id="most beyond what was asked"),
        pytest.param([candidate("a", 5, "10"), candidate("b", 5, "20")], "a", id="nobody takes too much"),
        pytest.param([candidate("a", 10, priority=CRITICAL), candidate("b", 1)], "b", id="the cluster itself stays"),
        pytest.param([candidate("a", 10, priority=CRITICAL), candidate("b", 0)], None, id="nobody whom it would help"),
        pytest.param([], None, id="nobody"),
    ],
)
def test_who_goes(candidates: list[Candidate], first: str | None):
    chosen = first_to_go(candidates, SLIGHT)
    assert (chosen and chosen.pod.metadata.name) == first


def test_nobody_goes_whose_going_would_not_help():
    assert first_to_go([candidate("a", (1 << 30) // 100)], LOW) is None
    assert first_to_go([candidate("a", (1 << 30) // 100 + 1)], LOW) is not None


def test_it_is_told_in_a_kubelets_words():
    assert message(candidate("a", 2 << 20, "1Mi"), LOW) == (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 1Mi. "
        "Container main was using 2Mi, request is 1Mi, has larger consumption of ephemeral-storage. "
    )
    memory = Supply(MEMORY, "memory", left=1, least=2)
    assert message(candidate("a", 1, "1Mi"), memory) == (
        "The node was low on resource: memory. Threshold quantity: 2, available: 1. "
    )
    inodes = Supply(DISK, INODES, left=1024, least=2048)
    assert message(candidate("a", 4096, "1Mi"), inodes) == (
        "The node was low on resource: inodes. Threshold quantity: 2048, available: 1024. "
        "Container main was using 4096, request is 0, has larger consumption of inodes. "
    )


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (1, "1"), (1023, "1023"), (1024, "1Ki"), (1536 << 20, "1536Mi"), (1 << 40, "1Ti")]
)
def test_quantities_are_exact(amount: int, text: str):
    assert quantity(amount) == text
