"""DaemonSets on the real API server with the scheduler, pods played."""

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.errors import Invalid
from ketch.kube.meta import LabelSelector, ObjectKey, ObjectMeta
from ketch.kube.types.apps import (
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    RollingUpdateDaemonSet,
)
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.local import scheduler
from ketch.local.workloads.daemonsets import reconciler

KEY = ObjectKey(NAMESPACE, "agent")
LABELS = {"app": "agent"}
NODES = ("one", "two", "three")


def a_set(strategy: DaemonSetUpdateStrategy | None = None, **pod) -> DaemonSet:
    template = PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=a_pod(**pod).spec)
    spec = DaemonSetSpec(
        selector=LabelSelector(match_labels=LABELS),
        template=template,
        update_strategy=strategy or DaemonSetUpdateStrategy(),
    )
    return DaemonSet(metadata=ObjectMeta(name="agent", namespace=NAMESPACE), spec=spec)


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, scheduler.setup, reconciler.setup) as world:
        for name in NODES:
            await world.node(name)
        yield world


async def begun(world, strategy=None, count: int = 3, **pod) -> None:
    await world.client.create(a_set(strategy, **pod))
    await are_on(world, count)
    await world.play_all()


async def placed(world) -> dict[str, Pod]:
    pods = [pod for pod in await world.all(Pod) if pod.metadata.deletion_timestamp is None]
    return {pod.spec.node_name: pod for pod in pods if pod.spec.node_name}


async def are_on(world, count: int) -> None:
    async def all_are() -> bool:
        return len(await placed(world)) == count

    await world.until(all_are)
    await world.settle()


async def end_deleted(world) -> None:
    for pod in await world.all(Pod):
        if pod.metadata.deletion_timestamp is not None:
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod.metadata.name}"
            await world.client.request("DELETE", path, {"gracePeriodSeconds": "0"})
    await world.settle()


async def set_image(world, image: str) -> None:
    container = {"name": "main", "image": image}
    await world.edit(DaemonSet, "agent", {"spec": {"template": {"spec": {"containers": [container]}}}})
    await world.settle()


async def images(world) -> list[str]:
    return sorted(pod.spec.containers[0].image for pod in (await placed(world)).values())


async def going(world) -> int:
    return sum(pod.metadata.deletion_timestamp is not None for pod in await world.all(Pod))


async def status(world):
    return (await world.get(DaemonSet, "agent")).status


async def test_each_node_gets_one_and_it_reports(world):
    await begun(world)
    assert set(await placed(world)) == set(NODES)
    found = await status(world)
    assert (found.desired_number_scheduled, found.current_number_scheduled, found.number_ready) == (3, 3, 3)
    assert (found.updated_number_scheduled, found.number_available, found.number_misscheduled) == (3, 3, 0)
    assert await world.settles("daemonsets", KEY, ObjectKey(NAMESPACE, "never"))
    await world.node("four")
    await are_on(world, 4)


async def test_selectors_and_taints_choose_nodes(world):
    await world.edit(Node, "one", {"metadata": {"labels": {"disk": "fast"}}})
    await world.edit(Node, "two", {"metadata": {"labels": {"disk": "fast"}}})
    taint = {"key": "special", "value": "yes", "effect": "NoSchedule"}
    await world.edit(Node, "two", {"spec": {"taints": [taint]}})
    await begun(world, count=1, node_selector={"disk": "fast"})
    assert set(await placed(world)) == {"one"}
    await world.edit(Node, "two", {"spec": {"taints": []}})
    await are_on(world, 2)
    await world.edit(Node, "one", {"metadata": {"labels": {"disk": None}}})
    await world.settle()
    await end_deleted(world)
    assert set(await placed(world)) == {"two"}


async def test_it_comes_to_nodes_that_are_cordoned_or_not_ready(world):
    await world.edit(Node, "one", {"spec": {"unschedulable": True}})
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    await world.edit(Node, "one", {"spec": {"taints": [taint]}})
    await begun(world)


async def test_a_new_template_rolls_one_node_after_the_other(world):
    await begun(world)
    await set_image(world, "python:3.12")
    for number in range(3):
        assert await going(world) == 1
        await end_deleted(world)
        await are_on(world, 3)
        assert await images(world) == ["python:3.11"] * (2 - number) + ["python:3.12"] * (number + 1)
        assert await going(world) == 0  # until the new one serves
        await world.play_all()
    assert await going(world) == 0
    assert (await status(world)).updated_number_scheduled == 3


async def test_more_may_be_missing_or_be_there_twice(world):
    two = DaemonSetUpdateStrategy(type="RollingUpdate", rolling_update=RollingUpdateDaemonSet(max_unavailable="50%"))
    await begun(world, two)
    await set_image(world, "python:3.12")
    assert await going(world) == 2


async def test_with_a_surge_the_old_stays_until_the_new_serves(world):
    rolling = RollingUpdateDaemonSet(max_unavailable=0, max_surge=1)
    await begun(world, DaemonSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling))
    await set_image(world, "python:3.12")

    async def four() -> bool:
        return sum(bool(pod.spec.node_name) for pod in await world.all(Pod)) == 4

    await world.until(four)
    assert await going(world) == 0
    await world.play_all()
    assert await going(world) == 1


async def test_on_delete_leaves_it_to_others(world):
    await begun(world, DaemonSetUpdateStrategy(type="OnDelete"))
    await set_image(world, "python:3.12")
    assert await going(world) == 0
    await world.delete(Pod, (await placed(world))["one"].metadata.name)
    await end_deleted(world)
    await are_on(world, 3)
    assert await images(world) == ["python:3.11", "python:3.11", "python:3.12"]


async def test_a_failed_pod_is_replaced_later_and_later(world):
    await begun(world)
    for wait in (0, 1.1, 2.1):
        pod = (await placed(world))["one"]
        await world.play(pod, "Failed")
        await world.pass_time(wait)
        await end_deleted(world)

        async def is_another(uid: str = pod.metadata.uid) -> bool:
            found = (await placed(world)).get("one")
            return found is not None and found.metadata.uid != uid

        await world.until(is_another)
    assert "Found failed daemon pod" in (await world.events("FailedDaemonPod"))[0]


async def test_a_pod_for_a_node_that_is_gone_goes_too(world):
    await world.node("small", allocatable={"cpu": "0"})
    await begun(world, requests={"cpu": "1"})
    assert len(await world.all(Pod)) == 4
    await world.delete(Node, "small")
    await world.settle()
    assert len(await world.all(Pod)) == 3


@pytest.mark.parametrize(
    ("rolling", "field"),
    [
        ({"maxUnavailable": 0, "maxSurge": 0}, "spec.updateStrategy.rollingUpdate"),
        ({"maxUnavailable": 1, "maxSurge": 1}, "spec.updateStrategy.rollingUpdate.maxSurge"),
        ({"maxUnavailable": "x%"}, "spec.updateStrategy.rollingUpdate.maxUnavailable"),
    ],
)
async def test_bad_input_is_refused_by_its_field(world, rolling, field):
    body = a_set().to_json()
    body["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    with pytest.raises(Invalid) as caught:
        await world.client.request("POST", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets", body=body)
    assert [cause.field for cause in caught.value.details.causes] == [field]
