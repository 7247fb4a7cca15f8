"""How many pods of a run are on their way at once."""

from ketch.pipelines.running.window import Window


def take(window: Window, *unwanted: str) -> list[str]:
    return list(window.take(lambda task: task not in unwanted))


def test_no_more_are_made_than_may_come_at_once_and_others_as_those_begin():
    window = Window(most=2)
    for task in "abcd":
        window.offer(task, "step")
    assert take(window) == ["a", "b"]
    assert take(window) == []
    window.begun("a")
    assert take(window) == ["c"]
    window.begun("b")
    window.begun("c")
    assert take(window) == ["d"]
    window.begun("d")
    assert take(window) == []


def test_components_do_not_hold_each_other_up():
    window = Window(most=1)
    for task, component in (("a", "rare"), ("b", "rare"), ("c", "common"), ("d", "common")):
        window.offer(task, component)
    assert take(window) == ["a", "c"]
    window.begun("c")
    assert take(window) == ["d"]


def test_what_is_not_wanted_any_more_takes_no_room():
    window = Window(most=1)
    for task in "abc":
        window.offer(task, "step")
    assert take(window, "a", "b") == ["c"]


def test_pods_that_are_there_already_count():
    window = Window(most=2)
    window.come("a", "step")
    window.come("a", "step")
    for task in "bc":
        window.offer(task, "step")
    assert take(window) == ["b"]
    window.begun("a")
    window.begun("a")
    assert take(window) == ["c"]
