"""How fast a size comes about: windows, policies and bounds, step by step."""

from datetime import UTC, datetime, timedelta

import pytest

from ketch.kube.codec import decode
from ketch.kube.types.autoscaling import AutoscalerSpec
from ketch.local.workloads.autoscaling.behavior import Memory, settle

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def a_spec(**behavior) -> AutoscalerSpec:
    return decode(AutoscalerSpec, {"minReplicas": 1, "maxReplicas": 20, "behavior": behavior})


def follow(spec: AutoscalerSpec, begin: int, *wanted: int, seconds: int = 15) -> list[int]:
    """The sizes that come of what is wanted, every quarter of a minute."""
    memory, current, sizes = Memory(), begin, []
    for number, each in enumerate(wanted):
        now = NOW + timedelta(seconds=seconds * number)
        outcome = settle(spec, current, each, memory, now)
        if outcome.replicas != current:
            memory.changes.append((now, outcome.replicas - current))
        current = outcome.replicas
        sizes.append(current)
    return sizes


def a_rule(kind: str, value: int, period: int = 15) -> dict:
    return {"type": kind, "value": value, "periodSeconds": period}


@pytest.mark.parametrize(
    ("spec", "begin", "wanted", "sizes"),
    [
        pytest.param(a_spec(), 2, (10, 10), [6, 10], id="up by four at first, then twice"),
        pytest.param(a_spec(), 2, (40, 40, 40), [6, 12, 20], id="and no further than the most"),
        pytest.param(a_spec(), 8, (2,) * 22, [8] * 0 + [2] + [2] * 21, id="down at once where nothing else was wanted"),
        pytest.param(a_spec(), 8, (8, *(2,) * 20), [8] * 20 + [2], id="down when it was not more for five minutes"),
        pytest.param(a_spec(), 3, (0,), [1], id="never below the least"),
        pytest.param(
            a_spec(scaleDown={"stabilizationWindowSeconds": 0, "policies": [a_rule("Pods", 1, 30)]}),
            5,
            (1, 1, 1, 1),
            [4, 4, 3, 3],
            id="one pod in half a minute",
        ),
        pytest.param(
            a_spec(scaleUp={"policies": [a_rule("Pods", 1), a_rule("Percent", 50)], "selectPolicy": "Min"}),
            4,
            (20, 20),
            [5, 6],
            id="the slower policy",
        ),
        pytest.param(a_spec(scaleUp={"selectPolicy": "Disabled"}), 4, (20, 20), [4, 4], id="not up at all"),
        pytest.param(
            a_spec(scaleUp={"stabilizationWindowSeconds": 30}), 2, (2, 6, 6, 6), [2, 2, 6, 6], id="up when it lasts"
        ),
    ],
)
def test_steps(spec, begin, wanted, sizes):
    assert follow(spec, begin, *wanted) == sizes


def test_it_says_what_holds_it_back():
    memory = Memory(recommended=[(NOW - timedelta(seconds=10), 8)])
    assert settle(a_spec(), 8, 2, memory, NOW).able[0] == "ScaleDownStabilized"
    assert settle(a_spec(), 2, 15, Memory(), NOW).limited[0] == "ScaleUpLimit"
    assert settle(a_spec(), 15, 40, Memory(), NOW).limited[0] == "TooManyReplicas"
    assert settle(a_spec(), 2, 2, Memory(), NOW).limited[0] == "DesiredWithinRange"
