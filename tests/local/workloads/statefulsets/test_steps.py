"""What a StatefulSet does next, by table: numbers that serve, that do not, that go, and of which template they are."""

from datetime import UTC, datetime

import msgspec
import pytest
from tests.playing import NAMESPACE, a_pod

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.apps import RollingUpdateStatefulSet, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy
from ketch.kube.types.pods import Pod, PodCondition, PodStatus
from ketch.local.workloads.revisions import REVISION_LABEL
from ketch.local.workloads.statefulsets.steps import Revisions, members, next_step

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OLD, NEW, STRAY = "old", "new", "stray"
NAMES = Revisions(OLD, NEW)


def a_set(replicas: int = 3, kind: str = "RollingUpdate", policy: str = "OrderedReady", start: int = 0, **rolling):
    strategy = StatefulSetUpdateStrategy(type=kind, rolling_update=RollingUpdateStatefulSet(**rolling))
    spec = StatefulSetSpec(replicas=replicas, pod_management_policy=policy, update_strategy=strategy)
    if start:
        spec = msgspec.structs.replace(spec, ordinals=msgspec.structs.replace(spec.ordinals, start=start))
    return StatefulSet(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=spec)


def pods_of(text: str) -> list[Pod]:
    """As "0+o 1-n 2!n 3xs": serving, not serving, going or ended, of the old, new or a stray template."""
    found: list[Pod] = []
    for word in text.split():
        number, state, revision = word[:-2], word[-2], {"o": OLD, "n": NEW, "s": STRAY}[word[-1]]
        pod = a_pod(f"web-{number}", labels={REVISION_LABEL: revision})
        ready = PodCondition(type="Ready", status="True" if state == "+" else "False", last_transition_time=NOW)
        status = PodStatus(phase="Failed" if state == "x" else "Running", conditions=(ready,))
        meta = msgspec.structs.replace(pod.metadata, deletion_timestamp=NOW if state == "!" else None)
        found.append(msgspec.structs.replace(pod, metadata=meta, status=status))
    return found


def told(owner: StatefulSet, pods: str) -> str:
    step = next_step(owner, members(owner, pods_of(pods)), NAMES, NOW)
    made = [f"+{number}" for number in step.create]
    return " ".join([*made, *(f"-{pod.metadata.name.rpartition('-')[2]}" for pod in step.delete)])


@pytest.mark.parametrize(
    ("pods", "step"),
    [
        pytest.param("", "+0", id="the first"),
        pytest.param("0-n", "", id="the next only when the one before serves"),
        pytest.param("0+n", "+1", id="then it comes"),
        pytest.param("0+n 2+n", "+1", id="a gap is filled"),
        pytest.param("0!n 1+n", "", id="one that goes is waited for"),
        pytest.param("0+n 1xn", "-1", id="one that has ended is made anew"),
        pytest.param("0+n 1+n 2+n 3+n 4+n", "-4", id="too many go from the top"),
        pytest.param("0+n 1+n 2+n 3+n 4!n", "", id="one after the other"),
        pytest.param("0+n 1-n 2+n 3+n", "", id="not while one below does not serve"),
        pytest.param("0+o 1+o 2+o", "-2", id="a new template begins at the top"),
        pytest.param("0+o 1+o 2-n", "", id="and waits for what it has made"),
        pytest.param("0+o 1+o 2+n", "-1", id="and goes on downwards"),
        pytest.param("0-o", "-0", id="a first pod that never came up is replaced by the new template"),
        pytest.param("0+o 1-o 2+o", "", id="one that recovers keeps its turn"),
        pytest.param("0+o 1+o 2-s", "-2", id="a template that was given up is left"),
    ],
)
def test_in_order(pods, step):
    assert told(a_set(), pods) == step


@pytest.mark.parametrize(
    ("owner", "pods", "step"),
    [
        pytest.param(a_set(policy="Parallel"), "1-n", "+0 +2", id="parallel: all at once"),
        pytest.param(a_set(1, policy="Parallel"), "0+n 1+n 2-n", "-2 -1", id="parallel: down at once"),
        pytest.param(a_set(policy="Parallel"), "0+o 1+o 2+o", "-2", id="parallel: templates still one by one"),
        pytest.param(a_set(policy="Parallel"), "0+o 1+o 2-n", "", id="parallel: as many as may be missing"),
        pytest.param(a_set(policy="Parallel", max_unavailable=2), "0+o 1+o 2+o", "-2 -1", id="two may be missing"),
        pytest.param(a_set(4, max_unavailable="50%"), "0+o 1+o 2+o 3+o", "-3 -2", id="half may be missing"),
        pytest.param(a_set(partition=2), "0+o 1+o 2+o", "-2", id="from the partition on"),
        pytest.param(a_set(partition=2), "0+o 1+o 2+n", "", id="and no further"),
        pytest.param(a_set(partition=3), "0-o", "", id="below the partition the old template is waited for"),
        pytest.param(a_set(kind="OnDelete"), "0+o 1+o 2+o", "", id="on delete: never by itself"),
        pytest.param(a_set(2, start=5), "5+n", "+6", id="numbers may begin elsewhere"),
        pytest.param(a_set(2, start=5), "4+n 5+n 6+n", "-4", id="below the start is too many"),
    ],
)
def test_policies(owner, pods, step):
    assert told(owner, pods) == step


def test_a_stranger_is_no_member():
    assert not members(a_set(), [a_pod("web-x"), a_pod("other-1"), a_pod("web-1-2")]).kept
