"""Pods that get their node while they are created: the scheduler asked by the API server of its process."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.playing import a_pod, a_world

from ketch.kube.conditions import find
from ketch.kube.errors import APIError
from ketch.kube.types.containers import Container
from ketch.kube.types.pods import Pod
from ketch.kube.types.volumes import ClaimVolume, Volume
from ketch.local import scheduler
from ketch.local.scheduler.arrivals import LATE, Arrivals

CPU = {"cpu": "1"}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
async def world(tmp_path):
    placements = []

    async def setup(manager):
        placements.append(await scheduler.setup(manager))

    async with a_world(tmp_path, setup) as world:
        world.api.place_pods_by(placements[0])
        yield world


async def created(world, pod: Pod) -> Pod:
    return await world.client.create(pod)


async def test_a_pod_that_fits_is_born_placed(world):
    await world.node()
    await world.settle()
    pod = await created(world, a_pod("a", requests=CPU))
    assert pod.spec.node_name == "node"
    condition = find(pod.status.conditions, "PodScheduled")
    assert condition is not None
    assert condition.status == "True"
    await world.until(lambda: world.events("Scheduled"))


async def test_no_two_pods_get_the_same_room(world):
    await world.node(allocatable={"cpu": "2"})
    await world.settle()
    pods = [await created(world, a_pod(f"p{number}", requests=CPU)) for number in range(4)]
    assert [pod.spec.node_name for pod in pods] == ["node", "node", "", ""]
    await world.settle()
    await world.play(pods[0], "Succeeded")

    async def another_is_placed() -> bool:
        return (await world.get(Pod, "p2")).spec.node_name == "node"

    await world.until(another_is_placed)


async def test_what_does_not_come_to_be_takes_no_room(world):
    await world.node(allocatable={"cpu": "1"})
    await world.settle()
    twice = (Container(name="main", image="a"), Container(name="main", image="b"))
    with pytest.raises(APIError):
        await created(world, a_pod("wrong", requests=CPU, containers=twice))
    await world.client.request(
        "POST", "/api/v1/namespaces/default/pods", {"dryRun": "All"}, body=a_pod("try", requests=CPU).to_json()
    )
    assert (await created(world, a_pod("right", requests=CPU))).spec.node_name == "node"


async def test_what_has_to_wait_is_not_placed_at_once(world):
    await world.node()
    await world.settle()
    gated = await created(world, a_pod("gated", scheduling_gates=({"name": "later"},)))
    other = await created(world, a_pod("other", scheduler_name="mine"))
    volume = Volume(name="v", persistent_volume_claim=ClaimVolume(claim_name="claim"))
    with_claim = await created(world, a_pod("with-claim", volumes=(volume,)))
    assert [each.spec.node_name for each in (gated, other, with_claim)] == ["", "", ""]


async def test_without_a_node_a_pod_waits_as_ever(world):
    assert (await created(world, a_pod("a"))).spec.node_name == ""
    await world.node()

    async def is_placed() -> bool:
        return (await world.get(Pod, "a")).spec.node_name == "node"

    await world.until(is_placed)


def test_who_does_not_come_is_late_after_a_while():
    arrivals = Arrivals()
    arrivals.expect("a", NOW)
    arrivals.expect("b", NOW + timedelta(seconds=1))
    assert arrivals.late(NOW + LATE - timedelta(seconds=1)) == []
    assert arrivals.late(NOW + LATE) == ["a"]
    assert arrivals.come("a") == NOW
    assert "a" not in arrivals
    assert arrivals.come("a") is None
