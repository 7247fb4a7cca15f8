"""Dearer pods take the room of cheaper ones: whose, when, and what is spared. On the real API server."""

import pytest
from tests.playing import a_pod, a_world

from ketch.kube.codec import decode
from ketch.kube.conditions import find
from ketch.kube.meta import Resource, unstructured
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod
from ketch.kube.types.policy import PodDisruptionBudget
from ketch.local import scheduler

CPU = {"cpu": "1"}
PriorityClass = unstructured(Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False))


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, scheduler.setup) as world:
        for name, value, policy in (
            ("low", 10, "PreemptLowerPriority"),
            ("high", 1000, "PreemptLowerPriority"),
            ("patient", 1000, "Never"),
        ):
            raw = {"metadata": {"name": name}, "value": value, "preemptionPolicy": policy}
            await world.client.create(decode(PriorityClass, raw))
        yield world


async def placed(world) -> list[str]:
    return [pod.metadata.name for pod in await world.all(Pod) if pod.spec.node_name]


async def are_placed(world, *names: str) -> None:
    async def all_are() -> bool:
        return set(names) <= set(await placed(world))

    await world.until(all_are)


async def run(world, name: str, group: str = "", requests=CPU, **spec) -> None:
    labels = {"name": name} | ({POD_GROUP_LABEL: group} if group else {})
    await world.client.create(a_pod(name, labels=labels, requests=requests, **spec))


async def running(world, *names: str, **spec) -> None:
    for name in names:
        await run(world, name, **spec)
        await are_placed(world, name)
        await world.play(await world.get(Pod, name))


async def going(world) -> list[str]:
    return [pod.metadata.name for pod in await world.all(Pod) if pod.metadata.deletion_timestamp]


async def are_going(world, *names: str) -> None:
    async def all_are() -> bool:
        return set(names) == set(await going(world))

    await world.until(all_are)


async def gone(world, *names: str) -> None:
    for name in names:
        await world.client.request("DELETE", f"/api/v1/namespaces/default/pods/{name}", {"gracePeriodSeconds": "0"})


async def is_told(world, name: str, text: str) -> None:
    async def told() -> bool:
        condition = find((await world.get(Pod, name)).status.conditions, "PodScheduled")
        return condition is not None and text in condition.message

    await world.until(told)


async def a_group(world, name: str, least: int) -> None:
    raw = {"metadata": {"name": name, "namespace": "default"}, "spec": {"minMember": least}}
    await world.client.create(decode(PodGroup, raw))


async def test_a_dearer_pod_takes_the_room_of_one_that_is_cheaper(world):
    await world.node(allocatable={"cpu": "2"})
    await running(world, "a", "b", priority_class_name="low", termination_grace_period_seconds=7)
    await run(world, "dear", priority_class_name="high")
    await is_told(world, "dear", "Pods of lower priority are ending to make room.")
    await are_going(world, "b")  # of equals, the one that began last
    victim = await world.get(Pod, "b")
    assert victim.metadata.deletion_grace_period_seconds == 7
    condition = find(victim.status.conditions, "DisruptionTarget")
    assert (condition.status, condition.reason) == ("True", "PreemptionByScheduler")
    assert (await world.get(Pod, "dear")).status.nominated_node_name == "node"
    assert "dear" not in await placed(world)
    await gone(world, "b")
    await are_placed(world, "a", "dear")
    assert await world.events("Preempted") == ["Preempted by default/dear on node node"]


async def test_the_room_is_kept_from_those_that_are_not_dearer(world):
    await world.node(allocatable={"cpu": "1"})
    await running(world, "a", priority_class_name="low")
    await run(world, "dear", priority_class_name="high")
    await are_going(world, "a")
    await run(world, "thief", priority_class_name="low")
    await is_told(world, "thief", "Insufficient cpu")
    await gone(world, "a")
    await are_placed(world, "dear")
    assert "thief" not in await placed(world)


async def test_several_take_one_each(world):
    await world.node(allocatable={"cpu": "3"})
    await running(world, "a", "b", "c", priority_class_name="low")
    for name in ("x", "y"):
        await run(world, name, priority_class_name="high")
    await are_going(world, "b", "c")
    await gone(world, "b", "c")
    await are_placed(world, "x", "y", "a")


@pytest.mark.parametrize("name", ["patient", "low"])
async def test_one_that_may_not_or_is_no_dearer_waits(world, name):
    await world.node(allocatable={"cpu": "1"})
    await running(world, "a", priority_class_name="low")
    await run(world, "late", priority_class_name=name)
    await is_told(world, "late", "0/1 nodes are available: 1 Insufficient cpu.")
    assert await going(world) == []


async def test_nobody_goes_where_it_would_not_help(world):
    await world.node(allocatable={"cpu": "2"})
    await running(world, "a", priority_class_name="low")
    await run(world, "large", requests={"cpu": "3"}, priority_class_name="high")
    await is_told(world, "large", "Insufficient cpu")
    await run(world, "elsewhere", priority_class_name="high", node_selector={"zone": "none"})
    await is_told(world, "elsewhere", "didn't match Pod's node affinity/selector")
    assert await going(world) == []


async def test_a_budget_is_respected_where_there_is_another_way(world):
    await world.node("one", allocatable={"cpu": "1"})
    await world.node("two", allocatable={"cpu": "1"})
    await running(world, "a", "b", priority_class_name="low")
    spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"name": "b"}}}
    raw = {"metadata": {"name": "keep", "namespace": "default"}, "spec": spec}
    await world.client.create(decode(PodDisruptionBudget, raw))
    await run(world, "dear", priority_class_name="high")
    await are_going(world, "a")
    await run(world, "dearer", priority_class_name="high")
    await are_going(world, "a", "b")  # and broken where there is none


async def test_a_gang_goes_as_a_whole_and_comes_as_a_whole(world):
    await world.node(allocatable={"cpu": "4"})
    await a_group(world, "old", 2)
    for name in ("old-0", "old-1"):
        await run(world, name, "old", priority_class_name="low")
    await are_placed(world, "old-0", "old-1")
    await running(world, "single", "other", priority_class_name="low")
    await run(world, "one", priority_class_name="high")
    await are_going(world, "other")  # those of no gang go first
    await gone(world, "other")
    await are_placed(world, "one")
    await a_group(world, "new", 2)
    for name in ("new-0", "new-1"):
        await run(world, name, "new", priority_class_name="high")
    await are_going(world, "old-0", "old-1", "single")
    await gone(world, "old-0", "single", "old-1")
    await are_placed(world, "new-0", "new-1")


async def test_a_gang_that_cannot_have_enough_takes_nothing(world):
    await world.node(allocatable={"cpu": "3"})
    await running(world, "a", "b", priority_class_name="low")
    await running(world, "c", priority_class_name="high")
    await a_group(world, "new", 3)
    for name in ("new-0", "new-1", "new-2"):
        await run(world, name, "new", priority_class_name="high")
    await is_told(world, "new-0", "needs room for 3 more pods at once")
    assert await going(world) == []


async def test_a_gang_with_a_dear_member_is_spared(world):
    await world.node(allocatable={"cpu": "2"})
    await a_group(world, "g", 2)
    await run(world, "g-0", "g", priority_class_name="low")
    await run(world, "g-1", "g", priority_class_name="high")
    await are_placed(world, "g-0", "g-1")
    await run(world, "dear", priority_class_name="high")
    await is_told(world, "dear", "Insufficient cpu")
    assert await going(world) == []
