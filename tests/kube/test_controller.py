"""A controller: one test per outcome."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.waiting import eventually

from ketch.kube.controller import Controller, Result, Terminal
from ketch.kube.errors import Conflict
from ketch.kube.meta import ObjectKey
from ketch.kube.testing import VirtualClock

A, B = ObjectKey("n", "a"), ObjectKey("n", "b")


class Scripted:
    """A reconciler that does what the test says, and remembers what it was asked."""

    def __init__(self, *acts: Callable[[], Awaitable[Result]]):
        self.acts = list(acts)
        self.asked: list[ObjectKey] = []
        self.busy: set[ObjectKey] = set()
        self.most_at_once = 0

    async def reconcile(self, key):
        assert key not in self.busy
        self.asked.append(key)
        self.busy.add(key)
        self.most_at_once = max(self.most_at_once, len(self.busy))
        try:
            return await self.acts.pop(0)() if self.acts else Result()
        finally:
            self.busy.discard(key)


def failing(error):
    async def act():
        raise error

    return act


async def in_a_minute():
    return Result(requeue_after=60)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def start(clock):
    """Start a controller on a script."""
    running: list[asyncio.Task[None]] = []

    def begin(script: Scripted, workers: int = 4) -> Controller:
        controller = Controller("test", script, clock, workers)
        running.append(asyncio.create_task(controller.run()))
        return controller

    yield begin
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)


async def test_done_is_done(start, clock):
    script = Scripted()
    controller = start(script)
    controller.enqueue(A)
    await clock.advance(3600)
    assert script.asked == [A]
    assert controller.outcomes.done == 1


async def test_requeue_after_comes_again_when_due(start, clock):
    script = Scripted(in_a_minute)
    controller = start(script)
    controller.enqueue(A)
    await clock.advance(59)
    assert script.asked == [A]
    await clock.advance(1)
    assert script.asked == [A, A]
    assert (controller.outcomes.requeued, controller.outcomes.done) == (1, 1)


@pytest.mark.parametrize("error", [ValueError("bug"), Conflict("somebody was first")], ids=["bug", "conflict"])
async def test_an_error_is_tried_again_with_growing_back_off(start, clock, error):
    script = Scripted(*[failing(error)] * 3)
    controller = start(script)
    controller.enqueue(A)
    for tries, pause in ((1, 0.004), (2, 0.001), (2, 0.009), (3, 0.001), (3, 0.019), (4, 0.001)):
        await clock.advance(pause)
        assert len(script.asked) == tries
    assert controller.outcomes.failed == 3
    assert controller.queue.failures(A) == 0


async def test_terminal_is_told_and_not_retried(start, clock, caplog):
    script = Scripted(failing(Terminal("the image name is empty")))
    controller = start(script)
    controller.enqueue(A)
    await clock.advance(3600)
    assert script.asked == [A]
    assert controller.outcomes.terminal == 1
    assert "the image name is empty" in caplog.text
    controller.enqueue(A)  # the object changed
    await clock.advance(0)
    assert script.asked == [A, A]


async def test_one_key_is_worked_on_by_one_worker(start, clock):
    release = asyncio.Event()

    async def slow():
        await release.wait()
        return Result()

    script = Scripted(slow, slow)
    controller = start(script)
    for key in (A, A, B):
        controller.enqueue(key)
        await clock.advance(0)
    assert sorted(script.asked) == [A, B]
    assert script.most_at_once == 2
    release.set()
    await clock.advance(0)
    assert sorted(script.asked) == [A, A, B]


async def test_no_more_at_once_than_workers(start, clock):
    waiting = asyncio.Event()

    async def wait():
        await waiting.wait()
        return Result()

    script = Scripted(*[wait] * 6)
    controller = start(script, workers=2)
    for number in range(6):
        controller.enqueue(ObjectKey("n", str(number)))
    await clock.advance(0)
    assert len(script.asked) == 2
    waiting.set()
    await clock.advance(0)
    assert len(script.asked) == 6
    assert script.most_at_once == 2


async def test_a_graceful_stop_ends_what_has_begun_and_begins_nothing(clock):
    release, ended = asyncio.Event(), []

    async def slow():
        await release.wait()
        ended.append(True)
        return Result()

    script = Scripted(slow)
    controller = Controller("test", script, clock, workers=1)
    running = asyncio.create_task(controller.run())
    controller.enqueue(A)
    controller.enqueue(B)
    await clock.advance(0)
    running.cancel()
    await clock.advance(0)
    assert not running.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [True]
    assert script.asked == [A]


async def test_a_stop_does_not_wait_for_ever(clock, monkeypatch):
    monkeypatch.setattr("ketch.kube.controller.STOP_GRACE_SECONDS", 0.01)
    script = Scripted(asyncio.Event().wait)
    controller = Controller("test", script, clock)
    running = asyncio.create_task(controller.run())
    controller.enqueue(A)
    await clock.advance(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not script.busy


async def test_one_that_asks_again_and_again_leaves_others_their_turn(start):
    news = asyncio.Event()

    class Impatient:
        passes = 0

        async def reconcile(self, key):
            self.passes += 1
            assert self.passes < 100_000, "the loop was kept from what is waited for"
            return Result() if news.is_set() else Result(requeue_after=0)

    controller = start(Impatient())
    controller.enqueue(A)
    asyncio.get_running_loop().call_later(0.01, news.set)
    await eventually(lambda: controller.outcomes.done, "its end")
    assert controller.outcomes.failed == 0
