"""Leader election on a virtual clock and the real API server."""

import asyncio

import pytest

from ketch.kube.errors import TransportError
from ketch.kube.leader import LEASE_SECONDS, LeadershipLost, LeaseLock
from ketch.kube.rest import RESTClient
from ketch.kube.testing import VirtualClock
from ketch.kube.types.coordination import Lease


class Cuttable:
    """A transport to the real server that can be cut off."""

    def __init__(self, transport):
        self._transport = transport
        self.is_cut = False

    async def request(self, request):
        if self.is_cut:
            raise TransportError("cut")
        return await self._transport.request(request)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def line(api):
    return Cuttable(api.transport())


@pytest.fixture
def one(line, clock):
    return LeaseLock(RESTClient(line), clock, "lock", "default", "one")


@pytest.fixture
def two(client, clock):
    return LeaseLock(client, clock, "lock", "default", "two")


async def until(task, clock, most, *others):
    """Advance second by second until ``task`` is done; how many seconds it took.

    Time stands still while anybody waits for the server instead of the clock.
    """
    for passed in range(most):
        while not task.done() and clock.sleeping < sum(not each.done() for each in (task, *others)):
            await asyncio.wait([task], timeout=0.001)
        if task.done():
            return passed
        await clock.advance(1)
    raise AssertionError(f"not done after {most} s")


async def holder(client):
    return (await client.get(Lease, "lock", "default")).spec.holder_identity


async def test_the_first_takes_it_and_another_waits(client, one, two, clock):
    await one.acquire()
    assert await holder(client) == "one"
    holding, waiting = asyncio.create_task(one.hold()), asyncio.create_task(two.acquire())
    with pytest.raises(AssertionError, match="not done"):
        await until(waiting, clock, 4 * LEASE_SECONDS, holding)
    assert await holder(client) == "one"
    for task in (holding, waiting):
        task.cancel()
    await asyncio.wait([holding, waiting])


async def test_a_lapsed_lease_is_taken_over(client, one, two, clock):
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    assert await until(waiting, clock, 60) >= LEASE_SECONDS
    lease = await client.get(Lease, "lock", "default")
    assert (lease.spec.holder_identity, lease.spec.lease_transitions) == ("two", 1)


async def test_the_old_leader_stops_before_the_new_one_begins(client, one, two, clock, line):
    await one.acquire()
    line.is_cut = True
    holding, waiting = asyncio.create_task(one.hold()), asyncio.create_task(two.acquire())
    stopped = await until(holding, clock, 60, waiting)
    assert isinstance(holding.exception(), LeadershipLost)
    assert not waiting.done()
    await until(waiting, clock, 60)
    assert stopped < LEASE_SECONDS


async def test_a_leader_whose_lease_was_taken_stops(client, one, two, clock, line):
    await one.acquire()
    line.is_cut = True
    await until(asyncio.create_task(two.acquire()), clock, 60)
    line.is_cut = False
    holding = asyncio.create_task(one.hold())
    await until(holding, clock, 10)
    assert isinstance(holding.exception(), LeadershipLost)
    assert await holder(client) == "two"


async def test_a_released_lease_is_free_at_once(client, one, two, clock):
    await one.acquire()
    await one.release()
    await one.release()
    await two.acquire()
    assert await holder(client) == "two"


async def test_a_restart_under_the_same_name_goes_on(client, one, clock):
    await one.acquire()
    again = LeaseLock(client, clock, "lock", "default", "one")
    await again.acquire()
    assert await holder(client) == "one"
