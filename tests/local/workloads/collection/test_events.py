"""Events go when they are old news."""

import asyncio
from datetime import timedelta

from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectMeta
from ketch.kube.testing import VirtualClock
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import Event, ObjectReference
from ketch.local.workloads.collection import events


async def an_event(client, name, ago=timedelta(0)):
    about = ObjectReference(kind="Pod", namespace="default", name="p")
    moment = SYSTEM_CLOCK.now() - ago
    meta = ObjectMeta(name=name, namespace="default")
    event = Event(metadata=meta, involved_object=about, reason="R", first_timestamp=moment, last_timestamp=moment)
    return await client.create(event)


async def names(client):
    return {event.metadata.name for event in (await client.list(Event, "default")).items}


async def test_those_that_are_an_hour_old_go_and_the_others_stay(client, monkeypatch):
    monkeypatch.setattr(events, "PAGE", 2)
    for number in range(5):
        await an_event(client, f"old{number}", timedelta(minutes=61))
    await an_event(client, "new", timedelta(minutes=59))
    await events.expire(client, SYSTEM_CLOCK.now())
    assert await names(client) == {"new"}


async def test_one_that_happened_again_meanwhile_stays(client):
    old = await an_event(client, "old", timedelta(hours=2))
    await client.patch(Event, "old", "default", {"count": 2}, content_type=MERGE_PATCH)
    await events._delete(client, old)
    assert await names(client) == {"old"}


async def test_they_are_looked_at_from_time_to_time(client):
    clock = VirtualClock(SYSTEM_CLOCK.now())
    manager = Manager(client, clock)
    events.setup(manager)
    running = asyncio.create_task(manager.run())
    await an_event(client, "e")
    await eventually(lambda: clock.sleeping)
    await clock.advance(3700)
    await clock.advance(events.EVERY_SECONDS)

    async def gone():
        return not await names(client)

    await eventually(gone)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
