"""The scheduler on the real API server."""

import asyncio

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.conditions import find
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.containers import ResourceRequirements
from ketch.kube.types.core import ClaimSpec, Event, Node, PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.kube.types.volumes import ClaimVolume, Volume
from ketch.local import scheduler
from ketch.local.workloads.storage import claims, volumes

CPU = {"cpu": "1"}


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, scheduler.setup) as world:
        yield world


async def on(world, name: str) -> str:
    return (await world.get(Pod, name)).spec.node_name


async def verdict(world, name: str):
    return find((await world.get(Pod, name)).status.conditions, "PodScheduled")


async def placed(world, *names: str) -> None:
    async def all_are() -> bool:
        return all([await on(world, name) for name in names])

    await world.until(all_are)


async def refused(world, name: str, text: str = "") -> None:
    async def is_refused() -> bool:
        found = await verdict(world, name)
        return found is not None and found.status == "False" and text in found.message

    await world.until(is_refused)


async def has_events(world, reason: str, count: int) -> None:
    async def there_are() -> bool:
        return len(await world.events(reason)) == count

    await world.until(there_are)


async def test_a_pod_gets_its_node(world):
    await world.node()
    await world.client.create(a_pod("a", requests=CPU))
    await placed(world, "a")
    assert (await verdict(world, "a")).status == "True"
    await has_events(world, "Scheduled", 1)
    assert await world.events("Scheduled") == ["Successfully assigned default/a to node"]


async def test_no_two_pods_take_the_same_room(world):
    await world.node()
    await asyncio.gather(*(world.client.create(a_pod(f"p{number}", requests=CPU)) for number in range(12)))
    await has_events(world, "FailedScheduling", 8)
    await has_events(world, "Scheduled", 4)
    assert sum(bool(pod.spec.node_name) for pod in await world.all(Pod)) == 4


async def test_who_waits_is_told_why_once_and_placed_when_there_is_room(world):
    await world.node(allocatable={"cpu": "1"})
    await world.client.create(a_pod("a", requests=CPU))
    await placed(world, "a")
    await world.client.create(a_pod("b", requests=CPU))
    await refused(world, "b", "0/1 nodes are available: 1 Insufficient cpu.")
    assert (await verdict(world, "b")).reason == "Unschedulable"
    await has_events(world, "FailedScheduling", 1)
    await world.play(await world.get(Pod, "a"), "Succeeded")
    await placed(world, "b")
    await world.client.create(a_pod("c", requests=CPU))
    await refused(world, "c")
    await world.delete(Pod, "b")
    await world.edit(Pod, "b", {"metadata": {"labels": {"still": "here"}}})
    assert await on(world, "c") == ""  # b holds its room until its node says that it is gone
    await world.client.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/b", {"gracePeriodSeconds": "0"})
    await placed(world, "c")


async def test_pods_wait_for_the_first_node_and_for_one_that_becomes_ready(world):
    await world.client.create(a_pod("a"))
    await refused(world, "a", "no nodes available")
    await world.node(ready=False)
    await refused(world, "a", "untolerated taint {node.kubernetes.io/not-ready: }")
    await world.edit(Node, "node", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "status")
    await placed(world, "a")


async def test_the_more_important_pod_is_first(world):
    await world.client.create(a_pod("low", requests=CPU))
    await world.client.create(a_pod("high", requests=CPU, priority_class_name="system-node-critical"))
    await refused(world, "low")
    await refused(world, "high")
    await world.node(allocatable={"cpu": "1"})
    await placed(world, "high")
    await refused(world, "low", "Insufficient cpu")


async def test_gates_hold_a_pod(world):
    await world.node()
    await world.client.create(a_pod("a", scheduling_gates=({"name": "example.com/wait"},)))
    await refused(world, "a", "non-empty scheduling gates")
    assert (await verdict(world, "a")).reason == "SchedulingGated"
    await world.edit(Pod, "a", {"spec": {"schedulingGates": None}})
    await placed(world, "a")


async def test_pods_of_other_schedulers_and_placed_ones_are_left_alone_but_hold_room(world):
    await world.node(allocatable={"cpu": "1"})
    await world.client.create(a_pod("theirs", scheduler_name="other"))
    await world.client.create(a_pod("static", requests=CPU, node_name="node"))
    await world.client.create(a_pod("a", requests=CPU))
    await refused(world, "a", "Insufficient cpu")
    assert await on(world, "theirs") == ""


async def test_room_held_before_the_scheduler_came_counts(tmp_path):
    async with a_world(tmp_path) as world:
        await world.node(allocatable={"cpu": "1"})
        await world.client.create(a_pod("static", requests=CPU, node_name="node"))
        await world.client.create(a_pod("a", requests=CPU))
    async with a_world(tmp_path, scheduler.setup) as world:
        await refused(world, "a", "Insufficient cpu")


async def test_what_a_pod_was_told_is_not_told_again_after_a_restart(tmp_path):
    async with a_world(tmp_path, scheduler.setup) as world:
        await world.client.create(a_pod("a"))
        await refused(world, "a")
        await has_events(world, "FailedScheduling", 1)
    async with a_world(tmp_path, scheduler.setup) as world:
        await world.client.create(a_pod("b"))  # its turn comes after a's
        await has_events(world, "FailedScheduling", 2)
        assert [event.count for event in await world.all(Event, field_selector="reason=FailedScheduling")] == [1, 1]


def mounting(name: str) -> Pod:
    return a_pod(name, volumes=(Volume(name="data", persistent_volume_claim=ClaimVolume(claim_name="data")),))


async def test_a_claim_that_waits_for_its_pod_is_bound_then_the_pod_is(tmp_path):
    async with a_world(tmp_path, scheduler.setup, claims.setup, volumes.setup) as world:
        await world.node()
        await world.client.create(mounting("a"))
        await refused(world, "a", 'persistentvolumeclaim "data" not found')
        spec = ClaimSpec(
            access_modes=("ReadWriteOnce",),
            resources=ResourceRequirements(requests={"storage": "1Gi"}),
            storage_class_name="standard",
        )
        meta = ObjectMeta(name="data", namespace=NAMESPACE)
        await world.client.create(PersistentVolumeClaim(metadata=meta, spec=spec))
        await placed(world, "a")
        claim = await world.get(PersistentVolumeClaim, "data")
        assert claim.metadata.annotations["volume.kubernetes.io/selected-node"] == "node"
        assert claim.status.phase == "Bound"


async def test_a_claim_for_one_pod_has_no_second_one(tmp_path):
    async with a_world(tmp_path, scheduler.setup, claims.setup, volumes.setup) as world:
        await world.node()
        spec = ClaimSpec(
            access_modes=("ReadWriteOncePod",),
            resources=ResourceRequirements(requests={"storage": "1Gi"}),
            storage_class_name="standard",
        )
        meta = ObjectMeta(name="data", namespace=NAMESPACE)
        await world.client.create(PersistentVolumeClaim(metadata=meta, spec=spec))
        await world.client.create(mounting("a"))
        await placed(world, "a")
        await world.client.create(mounting("b"))
        await refused(world, "b", "with the same name and ReadWriteOncePod access mode")
        await world.play(await world.get(Pod, "a"), "Succeeded")
        await placed(world, "b")


async def test_an_unbound_immediate_claim_is_told(world):
    await world.node()
    spec = ClaimSpec(
        access_modes=("ReadWriteOnce",),
        resources=ResourceRequirements(requests={"storage": "1Gi"}),
        storage_class_name="",
    )
    meta = ObjectMeta(name="data", namespace=NAMESPACE)
    await world.client.create(PersistentVolumeClaim(metadata=meta, spec=spec))
    await world.client.create(mounting("a"))
    await refused(world, "a", "pod has unbound immediate PersistentVolumeClaims")


async def test_three_hundred_pods_queue_for_ten_places_and_all_get_one(world):
    await world.node(allocatable={"cpu": "10", "pods": "2000"})
    await asyncio.gather(*(world.client.create(a_pod(f"p{number}", requests=CPU)) for number in range(300)))
    done = 0
    while done < 300:
        running = [pod for pod in await world.all(Pod) if pod.spec.node_name and not pod.status.container_statuses]
        assert len(running) <= 10
        await asyncio.gather(*(world.play(pod, "Succeeded") for pod in running))
        done += len(running)
        await SYSTEM_CLOCK.sleep(0.002)
