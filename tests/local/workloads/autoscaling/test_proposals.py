"""How many pods a metric asks for, by table: what each pod uses of its 100m, and the size that follows."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.playing import a_pod

from ketch.kube.types.pods import Pod, PodCondition, PodStatus
from ketch.local.workloads.autoscaling.proposals import Measured, MetricError, propose

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
HALF = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


def a_metric(**target) -> dict:
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def pods_and_use(text: str) -> tuple[list[Pod], dict[str, Measured]]:
    """As "50 80 ? new wait": millicores of pods, of one that is not measured, has just begun, has no node."""
    pods: list[Pod] = []
    use: dict[str, Measured] = {}
    for number, word in enumerate(text.split()):
        begun = NOW - timedelta(seconds=20) if word == "new" else LONG_AGO
        ready = PodCondition(type="Ready", status="False" if word == "new" else "True", last_transition_time=begun)
        phase = "Pending" if word == "wait" else "Running"
        status = PodStatus(phase=phase, start_time=begun, conditions=(ready,))
        pod = msgspec.structs.replace(a_pod(f"p{number}", requests={"cpu": "100m"}), status=status)
        pods.append(pod)
        if word not in ("?", "wait"):
            millicores = "900m" if word == "new" else f"{word}m"
            use[pod.metadata.name] = Measured(
                NOW, timedelta(seconds=15), {"main": {"cpu": millicores, "memory": "1Mi"}}
            )
    return pods, use


@pytest.mark.parametrize(
    ("metric", "pods", "size"),
    [
        pytest.param(HALF, "50 50", 2, id="right as it is"),
        pytest.param(HALF, "54 54", 2, id="nearly right"),
        pytest.param(HALF, "100 100", 4, id="twice the use, twice the pods"),
        pytest.param(HALF, "10 10 10 10", 1, id="a fifth of the use"),
        pytest.param(HALF, "60 100", 4, id="rounded up"),
        pytest.param(HALF, "100 100 new", 4, id="one that begins counts as idle"),
        pytest.param(HALF, "100 wait wait", 3, id="those that wait may be enough"),
        pytest.param(HALF, "10 10 ?", 3, id="one of unknown use may be busy"),
        pytest.param(HALF, "200 ?", 4, id="or idle where more are wanted"),
        pytest.param(a_metric(type="AverageValue", averageValue="25m"), "50 50", 4, id="by an amount per pod"),
    ],
)
def test_sizes(metric, pods, size):
    found, use = pods_and_use(pods)
    assert propose(metric, len(found), found, use, NOW).replicas == size


def test_what_it_tells_of_the_metric():
    pods, use = pods_and_use("30 60")
    told = propose(HALF, 2, pods, use, NOW)
    assert told.current == {
        "type": "Resource",
        "resource": {"name": "cpu", "current": {"averageValue": "45m", "averageUtilization": 45}},
    }
    assert told.name == "cpu resource utilization (percentage of request)"


def test_one_container_of_several():
    pods, use = pods_and_use("100")
    source = {"name": "cpu", "container": "main", "target": {"type": "Utilization", "averageUtilization": 50}}
    assert propose({"type": "ContainerResource", "containerResource": source}, 1, pods, use, NOW).replicas == 2


@pytest.mark.parametrize(
    ("metric", "pods", "message"),
    [
        pytest.param(HALF, "", "no pods returned by selector", id="no pods"),
        pytest.param(HALF, "? ?", "did not receive metrics", id="no metrics"),
        pytest.param({"type": "External", "external": {}}, "50", "there is no API for External metrics", id="another"),
        pytest.param(
            {"type": "Resource", "resource": {"name": "memory", "target": {"averageUtilization": 50}}},
            "50",
            "missing request for memory in container main of Pod p0",
            id="a share of nothing",
        ),
    ],
)
def test_what_cannot_be_had_says_why(metric, pods, message):
    with pytest.raises(MetricError, match=message):
        propose(metric, 1, *pods_and_use(pods), NOW)
