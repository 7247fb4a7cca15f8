"""Writes that the cache has not shown yet."""

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.expectations import PATIENCE_SECONDS, Expectations
from ketch.kube.types.pods import Pod

OWNER = "owner-uid"


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path) as world:
        yield world


async def made(world, expected: Expectations, name: str = "a") -> Pod:
    pod = await world.client.create(a_pod(name))
    expected.created(OWNER, pod)
    return pod


async def test_a_creation_is_awaited_until_the_cache_shows_it(world):
    informer = world.manager.informer(Pod, "default")
    expected = Expectations(informer, world.clock)
    assert expected.met(OWNER)
    pod = await made(world, expected)
    assert expected.met(OWNER) == (informer.get(pod.key) is not None)
    await informer.wait_synced()
    await world.settle()
    assert expected.met(OWNER)


async def test_what_the_cache_never_shows_is_given_up_in_time(world):
    expected = Expectations(world.manager.informer(Pod, "kube-public"), world.clock)
    await made(world, expected)
    await world.pass_time(PATIENCE_SECONDS - 1)
    assert not expected.met(OWNER)
    assert expected.met("another")
    await world.pass_time(2)
    assert expected.met(OWNER)


async def test_a_deletion_is_awaited_while_the_cache_knows_nothing_of_it(world):
    informer = world.manager.informer(Pod)
    await informer.wait_synced()
    expected = Expectations(informer, world.clock)
    pod = await made(world, expected)
    await world.settle()
    expected.deleted(OWNER, pod)
    assert not expected.met(OWNER)
    await world.client.create_subresource(Pod, "a", NAMESPACE, "binding", {"target": {"name": "node"}})
    await world.settle()
    assert not expected.met(OWNER)
    await world.delete(Pod, "a")
    await world.settle()
    assert expected.met(OWNER)
    expected.deleted(OWNER, pod)
    assert expected.met(OWNER)
