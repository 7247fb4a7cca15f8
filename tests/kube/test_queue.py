"""The work queue on a clock that moves only when told."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.kube.meta import ObjectKey
from ketch.kube.queue import LONGEST_BACK_OFF, QueueClosed, WorkQueue
from ketch.kube.testing import VirtualClock

A, B = ObjectKey("n", "a"), ObjectKey("n", "b")


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def queue(clock):
    queue = WorkQueue(clock)
    yield queue
    queue.close()


async def taken(queue: WorkQueue) -> ObjectKey:
    async with asyncio.timeout(5), queue.take() as key:
        return key


async def test_a_key_added_twice_is_there_once(queue):
    queue.add(A)
    queue.add(A)
    assert len(queue) == 1
    assert await taken(queue) == A
    assert queue.is_idle


async def test_keys_come_in_the_order_of_their_adding(queue):
    for key in (B, A):
        queue.add(key)
    assert [await taken(queue), await taken(queue)] == [B, A]


async def test_a_key_added_while_worked_on_comes_again_afterwards(queue):
    queue.add(A)
    async with queue.take() as key:
        queue.add(key)
        assert len(queue) == 0
        assert not queue.is_idle
    assert await taken(queue) == A


async def test_a_worker_waits_until_there_is_a_key(queue, clock):
    waiting = asyncio.create_task(taken(queue))
    await clock.advance(0)
    queue.add(B)
    assert await waiting == B


async def test_a_cancelled_worker_does_not_swallow_a_key(queue, clock):
    first, second = asyncio.create_task(taken(queue)), asyncio.create_task(taken(queue))
    await clock.advance(0)
    queue.add(A)
    first.cancel()
    assert await second == A


async def test_a_delayed_key_comes_when_due_and_not_before(queue, clock):
    queue.add_after(A, 10)
    await clock.advance(9.9)
    assert queue.is_idle
    await clock.advance(0.1)
    assert await taken(queue) == A


async def test_the_earliest_of_several_delays_counts(queue, clock):
    for seconds in (30, 10, 20):
        queue.add_after(A, seconds)
    await clock.advance(10)
    assert await taken(queue) == A
    await clock.advance(60)
    assert queue.is_idle


async def test_delays_of_many_keys_end_in_order(queue, clock):
    queue.add_after(A, 2)
    queue.add_after(B, 1)
    await clock.advance(3)
    assert [await taken(queue), await taken(queue)] == [B, A]


async def test_a_delay_of_zero_is_none(queue):
    queue.add_after(A, 0)
    assert await taken(queue) == A


async def test_back_off_doubles_to_a_limit_and_is_forgotten(queue):
    delays = [queue.retry(A) for _ in range(20)]
    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays[-1] == LONGEST_BACK_OFF
    assert queue.failures(A) == 20
    queue.forget(A)
    assert queue.retry(A) == 0.005


async def test_a_retry_is_seen_from_afar(queue, clock):
    queue.retry(A)
    assert queue.retries_within(0.005)
    assert not queue.retries_within(0.001)
    await clock.advance(0.005)
    assert await taken(queue) == A


async def test_closing_wakes_workers_and_drops_keys(queue, clock):
    waiting = asyncio.create_task(taken(queue))
    await clock.advance(0)
    queue.close()
    with pytest.raises(QueueClosed):
        await waiting
    queue.add(A)
    assert len(queue) == 0


@given(st.lists(st.sampled_from(["add a", "add b", "retry a", "advance", "work"]), max_size=40))
def test_no_key_is_lost_and_none_is_worked_on_twice_at_once(steps):
    async def play():
        clock = VirtualClock()
        queue = WorkQueue(clock)
        owed: set[ObjectKey] = set()
        for step in steps:
            match step:
                case "add a" | "add b":
                    key = A if step.endswith("a") else B
                    queue.add(key)
                    owed.add(key)
                case "retry a":
                    queue.retry(A)
                    owed.add(A)
                case "advance":
                    await clock.advance(400)
                case _ if len(queue):
                    async with queue.take() as key:
                        owed.discard(key)
                        assert key not in queue._waiting
        await clock.advance(400)
        while len(queue):
            owed.discard(await taken(queue))
        assert not owed
        assert queue.is_idle
        queue.close()

    asyncio.run(play())
