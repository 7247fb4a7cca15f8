"""A big gang among small ones: it waits for a while, then they wait for it; and not for ever."""

import pytest
from tests.local.scheduler.test_gangs import a_group, are_placed, finish, is_told, members, placed
from tests.playing import a_pod, a_world

from ketch.kube.types.podgroups import PodGroup
from ketch.local import scheduler


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, scheduler.setup) as world:
        await world.node(allocatable={"cpu": "2"})
        await a_group(world, "small", 1)
        await members(world, "small", 0)
        await are_placed(world, "small-0")
        yield world


async def big_waits(world, least: int = 2) -> None:
    await a_group(world, "big", least)
    await members(world, "big", *range(least))
    await is_told(world, "big-0", "needs room for")


async def next_small(world, number: int, ends: str = "") -> None:
    await a_group(world, f"next{number}", 1)
    if ends:
        await finish(world, ends)
    await members(world, f"next{number}", 0)


async def test_small_ones_pass_at_first_and_then_wait(world):
    await big_waits(world)
    await next_small(world, 1)
    await are_placed(world, "next1-0")
    await world.pass_time(31)
    await finish(world, "small-0")  # room for one: the big gang is tried, refused, and from now on first
    await is_told(world, "big-0", "there is room for 1")
    await next_small(world, 2)
    await is_told(world, "next2-0", 'PodGroup "big" has waited for longer and is placed first.')
    await world.client.create(a_pod("single", requests={"cpu": "1"}))
    await is_told(world, "single", "is placed first")
    await world.client.create(a_pod("wants-none", requests={}))
    await are_placed(world, "wants-none")
    await finish(world, "next1-0")
    await are_placed(world, "big-0", "big-1")
    await finish(world, "big-0", "big-1")
    await are_placed(world, "next2-0", "single")
    assert any("what comes after it waits" in each for each in await world.events("PlacedNext"))


async def test_the_others_go_on_when_its_time_is_over(world):
    await big_waits(world)
    await world.edit(PodGroup, "big", {"spec": {"scheduleTimeoutSeconds": 20}})
    await world.pass_time(31)
    await world.client.create(a_pod("tick", requests={"cpu": "1"}))
    await are_placed(world, "tick")
    await finish(world, "tick")

    async def is_first() -> bool:
        return bool(await world.events("PlacedNext"))

    await world.until(is_first)
    await next_small(world, 1)
    await is_told(world, "next1-0", "is placed first")
    await world.pass_time(21)
    await are_placed(world, "next1-0")
    assert (await world.events("ScheduleTimeout"))[0].startswith("There is still too little room")
    await finish(world, "next1-0")
    await next_small(world, 2)  # it rests before it may go first again
    await are_placed(world, "next2-0")


async def test_what_can_never_fit_holds_nobody_back(world):
    await big_waits(world, 3)
    await world.pass_time(31)
    await finish(world, "small-0")
    await next_small(world, 1)
    await are_placed(world, "next1-0")
    assert await world.events("PlacedNext") == []


async def test_min_resources_must_be_there_in_all(world):
    await a_group(world, "big", 1)
    await world.edit(PodGroup, "big", {"spec": {"minResources": {"cpu": "2"}}})
    await members(world, "big", 0)
    await is_told(world, "big-0", "needs in all (spec.minResources) 2 cpu, there is 1.")
    assert "big-0" not in await placed(world)
    await finish(world, "small-0")
    await are_placed(world, "big-0")
