"""HorizontalPodAutoscalers on the real API server; the use of pods is played."""

from datetime import timedelta

import pytest
from tests.local.workloads.test_deployments import a_deployment
from tests.playing import NAMESPACE, a_world

from ketch.kube.codec import decode
from ketch.kube.conditions import find
from ketch.kube.errors import Invalid, NotFound
from ketch.kube.types.apps import Deployment
from ketch.kube.types.autoscaling import HorizontalPodAutoscaler
from ketch.kube.types.pods import Pod
from ketch.local.workloads import deployments, replicasets
from ketch.local.workloads.autoscaling import reconciler
from ketch.local.workloads.autoscaling.measuring import MetricsAPI, measured


class Use:
    """Every pod uses so many millicores; None while nothing is measured."""

    def __init__(self) -> None:
        self.millicores: int | None = 100
        self.world = None

    async def use(self, namespace: str, selector: str):
        if self.millicores is None:
            raise NotFound("the server could not find the requested resource")
        pods = await self.world.client.list(Pod, namespace, label_selector=selector)
        containers = [{"name": "main", "usage": {"cpu": f"{self.millicores}m"}}]
        moment = (self.world.now() + timedelta(seconds=60)).isoformat()
        item = {"timestamp": moment, "window": "15s", "containers": containers}
        return {pod.metadata.name: measured(item) for pod in pods.items}


def an_autoscaler(**spec) -> HorizontalPodAutoscaler:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    spec = {
        "scaleTargetRef": target,
        "minReplicas": 2,
        "maxReplicas": 8,
        "metrics": [{"type": "Resource", "resource": resource}],
    } | spec
    return decode(HorizontalPodAutoscaler, {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": spec})


@pytest.fixture
async def use():
    return Use()


@pytest.fixture
async def world(tmp_path, use):
    def autoscaling(manager) -> None:
        reconciler.setup(manager, use)

    async with a_world(tmp_path, replicasets.setup, deployments.setup, autoscaling) as world:
        use.world = world
        body = a_deployment().to_json()
        body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "200m"}}
        await world.client.request("POST", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", body=body)
        await world.settle()
        await world.play_all()
        yield world


async def look(world) -> None:
    """Until the next look, and what comes of it."""
    await world.pass_time(16)
    await world.play_all()


async def size(world) -> int:
    return (await world.get(Deployment, "web")).spec.replicas


async def condition(world, kind: str):
    return find((await world.get(HorizontalPodAutoscaler, "web")).status.conditions, kind)


async def test_it_follows_the_use_up_and_later_down(world, use):
    await world.client.create(an_autoscaler())
    await world.settle()
    assert await size(world) == 3
    status = (await world.get(HorizontalPodAutoscaler, "web")).status
    assert (status.current_replicas, status.desired_replicas) == (3, 3)
    assert status.current_metrics[0]["resource"]["current"] == {"averageValue": "100m", "averageUtilization": 50}
    assert (await condition(world, "ScalingActive")).reason == "ValidMetricFound"
    use.millicores = 200
    await look(world)
    assert await size(world) == 6
    text = "New size: 6; reason: cpu resource utilization (percentage of request) above target"
    assert await world.events("SuccessfulRescale") == [text]
    use.millicores = 20
    await look(world)
    assert await size(world) == 6
    assert (await condition(world, "AbleToScale")).reason == "ScaleDownStabilized"
    for _ in range(6):
        await world.pass_time(60)
    await world.play_all()
    assert await size(world) == 2
    for _ in range(6):
        await world.pass_time(60)
    limited = await condition(world, "ScalingLimited")
    assert (limited.status, limited.reason) == ("True", "TooFewReplicas")


async def test_without_metrics_it_stays_as_it_is_and_says_so(world, use):
    use.millicores = None
    await world.client.create(an_autoscaler())
    await world.settle()
    active = await condition(world, "ScalingActive")
    assert (active.status, active.reason) == ("False", "FailedGetResourceMetric")
    assert "unable to fetch metrics from resource metrics API" in active.message
    assert await size(world) == 3


async def test_bounds_hold_without_any_metric(world, use):
    use.millicores = None
    await world.client.create(an_autoscaler(minReplicas=5))
    await world.settle()
    assert await size(world) == 5


async def test_scaled_to_zero_by_hand_it_rests(world):
    await world.edit(Deployment, "web", {"spec": {"replicas": 0}})
    await world.client.create(an_autoscaler())
    await world.settle()
    assert (await condition(world, "ScalingActive")).reason == "ScalingDisabled"
    assert await size(world) == 0


@pytest.mark.parametrize("target", [{"kind": "Deployment", "name": "none"}, {"kind": "Nothing", "name": "web"}])
async def test_a_target_that_is_not_there(world, target):
    await world.client.create(an_autoscaler(scaleTargetRef={"apiVersion": "apps/v1"} | target))
    await world.settle()
    able = await condition(world, "AbleToScale")
    assert (able.status, able.reason) == ("False", "FailedGetScale")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"minReplicas": 9}, "spec.maxReplicas"),
        ({"maxReplicas": 0}, "spec.maxReplicas"),
        ({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment"}}, "spec.scaleTargetRef.name"),
        ({"metrics": [{"type": "Weather"}]}, "spec.metrics[0].type"),
        (
            {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 4000}}},
            "spec.behavior.scaleUp.stabilizationWindowSeconds",
        ),
    ],
)
async def test_bad_input_is_refused_by_its_field(world, spec, field):
    with pytest.raises(Invalid) as caught:
        await world.client.create(an_autoscaler(**spec))
    assert field in [cause.field for cause in caught.value.details.causes]


async def test_use_is_read_from_the_metrics_api():
    class Client:
        async def request(self, method, path, query=None, body=None):
            assert (method, path) == ("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods")
            assert query == {"labelSelector": "app=web"}
            containers = [{"name": "main", "usage": {"cpu": "12345n", "memory": "10Ki"}}]
            item = {
                "metadata": {"name": "p"},
                "timestamp": "2030-01-01T00:00:00Z",
                "window": "20s",
                "containers": containers,
            }
            return {"items": [item]}

    told = await MetricsAPI(Client()).use("default", "app=web")
    assert (told["p"].window.seconds, told["p"].containers["main"]["cpu"]) == (20, "12345n")
