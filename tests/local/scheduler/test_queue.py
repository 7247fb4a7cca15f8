"""Whose turn it is, and who waits behind whom."""

from datetime import UTC, datetime, timedelta

from ketch.kube.meta import ObjectKey
from ketch.local.scheduler.filters import Change
from ketch.local.scheduler.needs import Needs
from ketch.local.scheduler.queue import Queue, Waiting

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SMALL, LARGE = Needs("ns", (("cpu", 1),)), Needs("ns", (("cpu", 9),))


def add(queue: Queue, uid: str, needs: Needs = SMALL, *, priority: int = 0, age: int = 0) -> None:
    order = queue.order(priority, NOW - timedelta(seconds=age))
    queue.add(Waiting(uid, ObjectKey("ns", uid), needs, order))


def drain(queue: Queue, fitting: int = 0) -> tuple[list[str], list[str]]:
    """Try all: the first ``fitting`` tries succeed. Returns the uids tried, and those that took another's verdict."""
    tried: list[str] = []
    told: list[str] = []
    while (popped := queue.pop()) is not None:
        if popped.refused is not None:
            told.append(popped.pod.uid)
            continue
        tried.append(popped.pod.uid)
        if len(tried) <= fitting:
            queue.placed(popped.pod)
        else:
            queue.park(popped.pod, "no room", Change.ROOM)
    return tried, told


def test_priority_then_age_then_arrival():
    queue = Queue()
    add(queue, "new")
    add(queue, "newer")
    add(queue, "old", age=5)
    add(queue, "dear", priority=1)
    assert drain(queue, 4)[0] == ["dear", "old", "new", "newer"]


def test_one_try_tells_for_all_alike():
    queue = Queue()
    for number in range(100):
        add(queue, f"p{number}")
    add(queue, "large", LARGE)
    tried, told = drain(queue)
    assert tried == ["p0", "large"]
    assert told == [f"p{number}" for number in range(1, 100)]


def test_room_for_two_is_taken_by_the_first_two_and_the_third_is_tried():
    queue = Queue()
    for number in range(100):
        add(queue, f"p{number}")
    drain(queue)
    queue.wake(Change.ROOM)
    assert drain(queue, 2)[0] == ["p0", "p1", "p2"]
    queue.wake(Change.ROOM)
    assert drain(queue, 1)[0] == ["p2", "p3"]


def test_only_what_may_help_wakes():
    queue = Queue()
    add(queue, "a")
    drain(queue)
    queue.wake(Change.CLAIMS)
    assert drain(queue) == ([], [])


def test_a_dearer_pod_that_joins_is_tried_first():
    queue = Queue()
    add(queue, "a")
    drain(queue)
    add(queue, "b", priority=7)
    assert drain(queue) == ([], ["b"])
    queue.wake(Change.ROOM)
    assert drain(queue)[0] == ["b"]


def test_a_verdict_about_labels_holds_for_the_one_pod():
    queue = Queue()
    add(queue, "a")
    add(queue, "b")
    popped = queue.pop()
    assert popped
    queue.park(popped.pod, "others keep it away", Change.ROOM, shared=False)
    assert drain(queue, 1)[0] == ["b"]
    queue.wake(Change.ROOM)
    assert drain(queue)[0] == ["a"]


def test_a_new_verdict_is_news_for_all_that_wait():
    queue = Queue()
    for uid in "abc":
        add(queue, uid)
    drain(queue)
    queue.wake(Change.ROOM)
    popped = queue.pop()
    assert popped
    news = queue.park(popped.pod, "no node", Change.NODES)
    assert {each.uid for each in news} == {"a", "b", "c"}
    queue.wake(Change.NODES)
    popped = queue.pop()
    assert popped
    assert [each.uid for each in queue.park(popped.pod, "no node", Change.NODES)] == ["a"]


def test_the_next_is_tried_when_the_one_on_trial_is_deleted():
    queue = Queue()
    for uid in "abc":
        add(queue, uid)
    drain(queue)
    queue.wake(Change.ROOM)
    queue.remove("a")
    assert drain(queue, 1)[0] == ["b", "c"]
    queue.remove("c")
    assert len(queue) == 0


def test_a_pod_whose_needs_change_is_queued_anew():
    queue = Queue()
    add(queue, "a", LARGE)
    drain(queue)
    add(queue, "a", LARGE)
    assert drain(queue) == ([], [])
    add(queue, "a", SMALL)
    assert drain(queue)[0] == ["a"]
    assert "a" in queue


def test_new_labels_are_a_reason_to_try_again():
    queue = Queue()
    add(queue, "a")
    popped = queue.pop()
    assert popped
    queue.park(popped.pod, "others keep it away", Change.ROOM, shared=False)
    add(queue, "a", Needs("ns", (("cpu", 1),), labels={"app": "web"}))
    assert drain(queue)[0] == ["a"]
