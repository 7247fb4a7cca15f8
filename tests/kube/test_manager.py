"""The manager, with real controllers on the real API server."""

import asyncio
from dataclasses import dataclass

import pytest

from ketch.kube.client import Client
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.controller import Result
from ketch.kube.errors import NotFound
from ketch.kube.informer import Informer
from ketch.kube.leader import LeadershipLost, LeaseLock
from ketch.kube.manager import For, Manager, Maps, Owns
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.coordination import Lease
from ketch.kube.types.core import ConfigMap, Secret


@dataclass
class Copies:
    """Keeps a Secret beside each ConfigMap that is labelled for it."""

    client: Client
    sources: Informer[ConfigMap]
    reconciled: int = 0

    async def reconcile(self, key: ObjectKey) -> Result:
        self.reconciled += 1
        source = self.sources.get(key)
        if source is not None:
            wanted = Secret(metadata=ObjectMeta(name=key.name), string_data=source.data)
            await self.client.apply(controlled_by(source, wanted), manager="copies")
        return Result()


def source(name, **data):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels={"copy": "yes"}), data=data)


@pytest.fixture
async def manager(client):
    return Manager(client, SYSTEM_CLOCK)


@pytest.fixture
def copies(manager):
    sources = manager.informer(ConfigMap, label_selector="copy=yes")
    reconciler = Copies(manager.client, sources)
    manager.controller("copies", reconciler, For(sources), Owns(manager.informer(Secret), ConfigMap))
    return reconciler


@pytest.fixture
async def running(manager, copies):
    task = asyncio.create_task(manager.run())
    await manager.ready()
    yield task
    task.cancel()
    await asyncio.wait([task])


async def test_a_controller_converges_repairs_and_settles(client, manager, copies, running):
    await client.create(source("a", k="v"))
    await manager.idle()
    assert (await client.get(Secret, "a", "default")).data == {"k": "dg=="}
    await client.delete(Secret, "a", "default")
    await manager.idle()
    first = await client.get(Secret, "a", "default")
    before = copies.reconciled
    manager.controller("again", copies, For(copies.sources)).enqueue(ObjectKey("default", "a"))
    await manager.idle()
    assert copies.reconciled > before
    assert await client.get(Secret, "a", "default") == first


async def test_an_error_is_over_when_the_manager_is_idle(client, manager, copies, running):
    class FailsTwice:
        tries = 0

        async def reconcile(self, key):
            self.tries += 1
            if self.tries < 3:
                raise NotFound("not yet")
            return Result()

    reconciler = FailsTwice()
    manager.controller("fails", reconciler, For(copies.sources))
    await client.create(source("a"))
    await manager.idle()
    assert reconciler.tries == 3


async def test_owners_of_another_kind_are_not_asked(client, manager, copies, running):
    owner = await client.create(ConfigMap(metadata=ObjectMeta(name="o", namespace="default")))
    metadata = ObjectMeta(name="s", namespace="default")
    owned = controlled_by(owner, Secret(metadata=metadata))
    watch = Owns(manager.informer(Secret), Secret)
    assert list(watch.keys(owned)) == []
    assert list(Owns(manager.informer(Secret), ConfigMap).keys(owned)) == [ObjectKey("default", "o")]
    assert list(watch.keys(Secret(metadata=metadata))) == []


async def test_a_map_is_asked_for_the_old_and_the_new(client, manager, running):
    asked: list[ObjectKey] = []

    class Remembers:
        async def reconcile(self, key):
            asked.append(key)
            return Result()

    informer = manager.informer(ConfigMap, label_selector="copy=yes")
    manager.controller("maps", Remembers(), Maps(informer, lambda obj: [ObjectKey("", obj.data["to"])]), workers=1)
    await client.apply(source("a", to="x"), manager="m")
    await manager.idle()
    await client.apply(source("a", to="y"), manager="m")
    await manager.idle()
    assert asked[0] == ObjectKey("", "x")
    assert set(asked[1:]) == {ObjectKey("", "x"), ObjectKey("", "y")}


async def test_informers_are_shared(manager):
    assert manager.informer(ConfigMap) is manager.informer(ConfigMap)
    assert manager.informer(ConfigMap) is not manager.informer(ConfigMap, "default")


async def test_names_of_controllers_are_unique(manager, copies):
    with pytest.raises(ValueError, match="copies"):
        manager.controller("copies", copies)


async def test_health(manager, copies):
    assert "informer ConfigMap" in manager.health()
    task = asyncio.create_task(manager.run())
    await manager.ready()
    assert manager.health() == {}
    task.cancel()
    await asyncio.wait([task])


async def test_tasks_run_beside_and_end_with_it(manager):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def beside():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    manager.add(beside)
    task = asyncio.create_task(manager.run())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_task_that_fails_ends_the_manager(manager, copies):
    async def fails():
        raise ValueError("bug")

    manager.add(fails)
    with pytest.raises(ValueError, match="bug"):
        async with asyncio.timeout(10):
            await manager.run()


async def test_it_stops_gracefully(client, manager, copies, running):
    began, release, done = asyncio.Event(), asyncio.Event(), []

    class Slow:
        async def reconcile(self, key):
            began.set()
            await release.wait()
            done.append(key)
            return Result()

    manager.controller("slow", Slow(), For(copies.sources))
    await client.create(source("a"))
    await began.wait()
    running.cancel()
    release.set()
    await asyncio.wait([running])
    assert done == [ObjectKey("default", "a")]


@pytest.fixture
def quick_elections(monkeypatch):
    monkeypatch.setattr("ketch.kube.leader.RETRY_SECONDS", 0.05)


async def test_only_the_leader_acts_and_hands_over(client, quick_elections):
    def contender(identity):
        manager = Manager(client, SYSTEM_CLOCK, leader=LeaseLock(client, SYSTEM_CLOCK, "l", "default", identity))
        acted = asyncio.Event()

        async def act():
            acted.set()

        manager.add(act)
        return asyncio.create_task(manager.run()), acted

    first, first_acted = contender("one")
    await first_acted.wait()
    second, second_acted = contender("two")
    first.cancel()
    await asyncio.wait([first])
    async with asyncio.timeout(10):
        await second_acted.wait()
    assert (await client.get(Lease, "l", "default")).spec.holder_identity == "two"
    second.cancel()
    await asyncio.wait([second])


async def test_losing_the_lease_ends_the_manager(client, quick_elections):
    manager = Manager(client, SYSTEM_CLOCK, leader=LeaseLock(client, SYSTEM_CLOCK, "l", "default", "one"))
    acted = asyncio.Event()

    async def act():
        acted.set()

    manager.add(act)
    task = asyncio.create_task(manager.run())
    await acted.wait()
    await client.delete(Lease, "l", "default")
    with pytest.raises(LeadershipLost):
        async with asyncio.timeout(10):
            await task
