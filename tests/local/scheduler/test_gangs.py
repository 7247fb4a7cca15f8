"""Pods of one PodGroup on the real API server: together or not at all, however many gangs want the same room."""

import asyncio
from typing import Any

import pytest
from tests.playing import a_pod, a_world

from ketch.kube.codec import decode
from ketch.kube.conditions import find
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod
from ketch.local import scheduler

CPU = {"cpu": "1"}


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, scheduler.setup) as world:
        yield world


async def a_group(world, name: str, least: int) -> None:
    raw = {"metadata": {"name": name, "namespace": "default"}, "spec": {"minMember": least}}
    await world.client.create(decode(PodGroup, raw))


async def members(world, group: str, *numbers: int, requests: Any = CPU, **spec: Any) -> None:
    labels = {POD_GROUP_LABEL: group}
    pods = [a_pod(f"{group}-{number}", labels=labels, requests=requests, **spec) for number in numbers]
    await asyncio.gather(*map(world.client.create, pods))


async def placed(world) -> list[str]:
    return [pod.metadata.name for pod in await world.all(Pod) if pod.spec.node_name]


async def are_placed(world, *names: str) -> None:
    async def all_are() -> bool:
        return set(names) <= set(await placed(world))

    await world.until(all_are)


async def is_told(world, name: str, text: str) -> None:
    async def told() -> bool:
        condition = find((await world.get(Pod, name)).status.conditions, "PodScheduled")
        return condition is not None and condition.status == "False" and text in condition.message

    await world.until(told)


async def finish(world, *names: str) -> None:
    for name in names:
        await world.play(await world.get(Pod, name), "Succeeded")


async def remove(world, name: str) -> None:
    await world.client.request("DELETE", f"/api/v1/namespaces/default/pods/{name}", {"gracePeriodSeconds": "0"})


async def test_it_waits_for_its_group_and_for_all_its_pods(world):
    await world.node()
    await members(world, "g", 0)
    await is_told(world, "g-0", 'there is no PodGroup "g"')
    await a_group(world, "g", 3)
    await is_told(world, "g-0", 'PodGroup "g" needs 3 pods at once: 2 more must be created')
    await members(world, "g", 1)
    await is_told(world, "g-1", "1 more must be created")
    assert await placed(world) == []
    await members(world, "g", 2)
    await are_placed(world, "g-0", "g-1", "g-2")


async def test_two_that_half_fit_take_turns(world):
    await world.node(allocatable={"cpu": "3"})
    for group in ("a", "b"):
        await a_group(world, group, 2)
    # As badly as it can come: one of each, then the rest.
    for number in (0, 1):
        for group in ("a", "b"):
            await members(world, group, number)
    await are_placed(world, "a-0", "a-1")
    await is_told(world, "b-0", 'PodGroup "b" needs room for 2 more pods at once, there is room for 1.')
    assert await placed(world) == ["a-0", "a-1"]
    await finish(world, "a-0", "a-1")
    await are_placed(world, "b-0", "b-1")


async def test_many_with_room_for_one_at_a_time_all_finish(world):
    await world.node(allocatable={"cpu": "4"})
    names = [f"g{number}" for number in range(6)]
    for name in names:
        await a_group(world, name, 4)
    await asyncio.gather(*(members(world, name, number) for number in range(4) for name in names))
    done: set[str] = set()

    async def four_more() -> bool:
        return len(set(await placed(world)) - done) == 4

    for _ in names:
        await world.until(four_more)
        running = sorted(set(await placed(world)) - done)
        assert len({name.partition("-")[0] for name in running}) == 1
        await finish(world, *running)
        done |= set(running)
    assert len(done) == 24


async def test_what_it_does_not_take_is_left_to_others(world):
    await world.node(allocatable={"cpu": "2"})
    await a_group(world, "large", 3)
    await members(world, "large", 0, 1, 2)
    await is_told(world, "large-2", "there is room for 2")
    await world.client.create(a_pod("single", requests=CPU))
    await are_placed(world, "single")
    assert await placed(world) == ["single"]


async def test_more_than_it_needs_follow_one_by_one(world):
    await world.node(allocatable={"cpu": "3"})
    await a_group(world, "g", 2)
    await members(world, "g", 0, 1, 2, 3)

    async def three() -> bool:
        return len(await placed(world)) == 3

    await world.until(three)
    (left,) = {"g-0", "g-1", "g-2", "g-3"} - set(await placed(world))
    await is_told(world, left, "0/1 nodes are available: 1 Insufficient cpu.")
    await finish(world, (await placed(world))[0])
    await are_placed(world, left)


async def test_one_that_comes_back_needs_no_second_gang(world):
    await world.node()
    await a_group(world, "g", 3)
    await members(world, "g", 0, 1, 2)
    await are_placed(world, "g-0", "g-1", "g-2")
    await finish(world, "g-0")
    await remove(world, "g-1")
    await members(world, "g", 1)
    await are_placed(world, "g-1")


async def test_those_about_to_go_do_not_count_for_their_successors(world):
    await world.node(allocatable={"cpu": "2"})
    await a_group(world, "g", 2)
    await members(world, "g", 0, 1)
    await are_placed(world, "g-0", "g-1")
    await world.delete(Pod, "g-0")
    await world.delete(Pod, "g-1")
    await remove(world, "g-0")
    await members(world, "g", 0)
    await is_told(world, "g-0", "1 more must be created")
    await remove(world, "g-1")
    await members(world, "g", 1)
    await are_placed(world, "g-0", "g-1")


async def test_the_turn_is_that_of_its_dearest_pod(world):
    await world.node(allocatable={"cpu": "1"})
    await world.client.create(a_pod("now", requests=CPU))
    await are_placed(world, "now")
    await world.client.create(a_pod("older", requests=CPU))
    await is_told(world, "older", "Insufficient cpu")
    await a_group(world, "g", 1)
    await members(world, "g", 0, priority_class_name="system-node-critical")
    await is_told(world, "g-0", "Insufficient cpu")
    await finish(world, "now")
    await are_placed(world, "g-0")
    assert "older" not in await placed(world)


async def test_a_group_that_needs_fewer_now_begins(world):
    await world.node(allocatable={"cpu": "2"})
    await a_group(world, "g", 3)
    await members(world, "g", 0, 1, 2)
    await is_told(world, "g-0", "there is room for 2")
    await world.edit(PodGroup, "g", {"spec": {"minMember": 2}})

    async def two() -> bool:
        return len(await placed(world)) == 2

    await world.until(two)


async def test_members_without_a_node_may_go(world):
    await world.node(allocatable={"cpu": "1"})
    await a_group(world, "g", 2)
    await members(world, "g", 0, 1)
    await is_told(world, "g-1", "there is room for 1")
    await remove(world, "g-0")
    await remove(world, "g-1")
    await world.client.create(a_pod("single", requests=CPU))
    await are_placed(world, "single")
