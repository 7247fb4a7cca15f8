"""Events on the real API server."""

import asyncio

import pytest
from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.events import BURST, PER_SECOND, EventRecorder, PacedEvents
from ketch.kube.meta import ObjectMeta
from ketch.kube.testing import VirtualClock
from ketch.kube.types.core import ConfigMap, Event, Namespace, Node


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def recorder(client, clock):
    return EventRecorder(client, "tester", clock, host="here")


@pytest.fixture
async def obj(client):
    return await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))


async def events(client, **selectors):
    return (await client.list(Event, **selectors)).items


async def test_an_event_names_its_object(client, recorder, obj):
    await recorder.record(obj, "Warning", "Failed", "it broke")
    (event,) = await events(client, field_selector="involvedObject.name=a")
    assert (event.type, event.reason, event.message, event.count) == ("Warning", "Failed", "it broke", 1)
    assert event.involved_object.uid == obj.metadata.uid
    assert (event.source.component, event.source.host) == ("tester", "here")


async def test_the_same_again_raises_the_count(client, recorder, obj, clock):
    for _ in range(3):
        await recorder.record(obj, "Normal", "Done", "again")
        await clock.advance(10)
    await recorder.record(obj, "Normal", "Done", "something else")
    counts = {event.message: event.count for event in await events(client)}
    assert counts == {"again": 3, "something else": 1}
    (again,) = [event for event in await events(client) if event.message == "again"]
    assert (again.last_timestamp - again.first_timestamp).total_seconds() == 20


async def test_all_at_once_are_all_counted(client, recorder, obj):
    await asyncio.gather(*(recorder.record(obj, "Normal", "Done", "x") for _ in range(10)))
    (event,) = await events(client)
    assert event.count == 10


async def test_events_are_listed_in_the_order_in_which_they_were_told(client, recorder, obj):
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        await recorder.record(obj, "Normal", reason, "x")
    assert [event.reason for event in await events(client)] == ["Scheduled", "Pulled", "Created", "Started"]


async def test_two_recorders_may_tell_at_the_same_moment(client, recorder, obj, clock):
    await recorder.record(obj, "Normal", "One", "x")
    await EventRecorder(client, "another", clock).record(obj, "Normal", "Two", "x")
    assert [event.reason for event in await events(client)] == ["One", "Two"]


async def test_an_expired_event_is_told_anew(client, recorder, obj):
    await recorder.record(obj, "Normal", "Done", "x")
    (event,) = await events(client)
    await client.delete(Event, event.metadata.name, "default")
    await recorder.record(obj, "Normal", "Done", "x")
    (event,) = await events(client)
    assert event.count == 1


async def test_cluster_scoped_objects_have_theirs_in_default(client, recorder):
    node = await client.create(Node(metadata=ObjectMeta(name="n")))
    await recorder.record(node, "Normal", "Ready", "up")
    (event,) = await events(client)
    assert event.metadata.namespace == "default"


async def test_telling_never_fails_its_caller(client, recorder):
    nowhere = ConfigMap(metadata=ObjectMeta(name="a", namespace="nowhere", uid="u"))
    await recorder.record(nowhere, "Normal", "Done", "x")
    assert await events(client) == ()
    await client.get(Namespace, "default")


async def told(client, count):
    """The events there are, once they are ``count``."""
    async with asyncio.timeout(20):
        while len(found := await events(client)) < count:
            await SYSTEM_CLOCK.sleep(0.005)
    return found


@pytest.fixture
async def paced(client, recorder, clock):
    paced = PacedEvents(recorder, clock)
    yield paced
    await paced.close()


async def test_some_events_are_told_at_once_and_those_after_them_in_time(client, paced, clock, obj):
    for number in range(BURST + 3):
        paced.tell(obj, "Normal", "Done", f"{number}")
    assert {event.message for event in await told(client, BURST)} == {f"{number}" for number in range(BURST)}
    for more in (1, 2, 3):
        await clock.advance(1 / PER_SECOND)
        assert len(await told(client, BURST + more)) == BURST + more


async def test_warnings_do_not_wait(client, paced, obj):
    for number in range(BURST + 50):
        paced.tell(obj, "Normal", "Done", f"{number}")
    await told(client, BURST)
    paced.tell(obj, "Warning", "Failed", "it broke")
    assert any(event.type == "Warning" for event in await told(client, BURST + 1))


async def test_of_very_many_objects_the_newest_are_told_and_the_oldest_forgotten(client, recorder, clock, obj):
    paced = PacedEvents(recorder, clock, most=2)
    for number in range(BURST):
        paced.tell(obj, "Normal", "Done", f"{number}")
    await told(client, BURST)
    for name in "abc":
        other = ConfigMap(metadata=ObjectMeta(name=f"other-{name}", namespace="default", uid=f"uid-{name}"))
        for reason in ("Began", "Ended"):
            paced.tell(other, "Normal", reason, name)
    for count in range(1, 5):
        await clock.advance(1 / PER_SECOND)
        await told(client, BURST + count)
    found = [(event.reason, event.message) for event in await events(client) if event.message in "abc"]
    assert found == [("Began", "b"), ("Ended", "b"), ("Began", "c"), ("Ended", "c")]
    await eventually(lambda: not any("_tell_all" in repr(task) for task in asyncio.all_tasks()), "nothing goes on")
