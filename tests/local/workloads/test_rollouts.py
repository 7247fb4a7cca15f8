"""The arithmetic of roll-outs, by table."""

from datetime import UTC, datetime, timedelta

import pytest

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.apps import (
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)
from ketch.local.workloads import rollouts
from ketch.local.workloads.rollouts import Limits

BORN = datetime(2030, 1, 1, tzinfo=UTC)


def a_set(name: str, replicas: int, available: int | None = None, *, age: int = 0, **marks: str) -> ReplicaSet:
    served = replicas if available is None else available
    meta = ObjectMeta(
        name=name,
        creation_timestamp=BORN - timedelta(seconds=age),
        annotations={f"deployment.kubernetes.io/{key.replace('_', '-')}": value for key, value in marks.items()},
    )
    status = ReplicaSetStatus(replicas=replicas, available_replicas=served)
    return ReplicaSet(metadata=meta, spec=ReplicaSetSpec(replicas=replicas), status=status)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        pytest.param(10, "25%", "25%", Limits(10, 3, 2), id="surge rounds up, unavailable down"),
        pytest.param(4, 1, 0, Limits(4, 1, 0), id="plain numbers"),
        pytest.param(1, "0%", "25%", Limits(1, 0, 1), id="never both zero"),
        pytest.param(2, 0, 5, Limits(2, 0, 2), id="no more missing than there are"),
        pytest.param(0, None, None, Limits(0, 0, 0), id="nothing wanted"),
    ],
)
def test_limits(replicas, surge, unavailable, expected):
    rolling = RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    strategy = DeploymentStrategy(type="RollingUpdate", rolling_update=rolling)
    assert rollouts.limits(Deployment(spec=DeploymentSpec(replicas=replicas, strategy=strategy))) == expected


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        pytest.param(0, 10, {"new": 3}, id="as far as the surge"),
        pytest.param(3, 10, {}, id="no room"),
        pytest.param(6, 5, {"new": 8}, id="room that old pods left"),
        pytest.param(12, 0, {"new": 10}, id="back to what is wanted"),
    ],
)
def test_the_new_set_grows(new, old, expected):
    sets = [a_set("new", new), a_set("old", old)]
    assert rollouts.scale_up(sets[0], sets, Limits(10, 3, 2)) == expected


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        pytest.param((3, 0), [(10, 10)], {"old0": 8}, id="as many as may be missing"),
        pytest.param((3, 3), [(10, 10)], {"old0": 5}, id="as many as the new set replaced"),
        pytest.param((5, 0), [(8, 8)], {}, id="nothing while new pods do not serve"),
        pytest.param((5, 0), [(8, 5)], {}, id="not even broken ones while new pods do not serve"),
        pytest.param((0, 0), [(10, 4)], {"old0": 8}, id="pods that do not serve go first"),
        pytest.param((3, 3), [(4, 4), (4, 4)], {"old0": 1}, id="the oldest set first"),
        pytest.param((10, 10), [(3, 3)], {"old0": 0}, id="the end"),
    ],
)
def test_old_sets_shrink(new, old, expected):
    sets = [a_set(f"old{index}", *each, age=9 - index) for index, each in enumerate(old)]
    assert rollouts.scale_down(a_set("new", *new), sets, Limits(10, 3, 2)) == expected


def test_a_resize_in_the_middle_keeps_shares():
    marks = {"desired_replicas": "10", "max_replicas": "13"}
    new, old = a_set("new", 5, **marks), a_set("old", 8, **marks)
    sizes = rollouts.proportional(new, [old, new], Limits(20, 5, 5), rolling=True)
    assert sizes == {"new": 10, "old": 15}
    assert rollouts.is_scaling([new, old], Limits(20, 5, 5))


@pytest.mark.parametrize(
    ("wanted", "sizes"),
    [
        pytest.param(4, {"new": 4}, id="the only set takes all"),
        pytest.param(2, {}, id="nothing to do"),
    ],
)
def test_a_resize_at_rest(wanted, sizes):
    new = a_set("new", 2, desired_replicas="2", max_replicas="3")
    assert rollouts.proportional(new, [a_set("old", 0), new], Limits(wanted, 1, 0), rolling=True) == sizes


def test_history_is_pruned_from_its_beginning():
    old = [a_set(f"r{number}", 0, revision=str(number)) for number in range(5)] + [a_set("busy", 1, revision="0")]
    assert [each.metadata.name for each in rollouts.outlived(old, 2)] == ["r0", "r1", "r2"]


def test_a_template_taken_up_again_gets_a_new_revision_and_remembers():
    new, old = a_set("new", 0, revision="1", revision_history="0"), [a_set("old", 3, revision="4")]
    number = rollouts.next_revision(new, old)
    assert (number, rollouts.history(new, number)) == (5, "0,1")
