"""ParallelFor: items of all kinds and from all places, limits, nesting, loops with conditions, loops over artifacts."""

from itertools import pairwise

from kfp import dsl
from kfp.dsl import Dataset
from tests.e2e.pipelines.conformance.cases import FAILED, SKIPPED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import add, describe, fail, give_list, light, numbers, read, say, write

family = Family("loops")


@family.case(Expect(outputs={"for-loop-2/0/say.Output": "a", "for-loop-2/1/say.Output": "b"}, absent=("for-loop-2/2",)))
@dsl.pipeline(name="constant-texts")
def constant_texts():
    with dsl.ParallelFor(["a", "b"]) as item:
        say(text=item)


@family.case(Expect(outputs={"for-loop-2/0/add.Output": 2, "for-loop-2/2/add.Output": 4}))
@dsl.pipeline(name="constant-integers")
def constant_integers():
    with dsl.ParallelFor([1, 2, 3]) as item:
        add(a=item)


@light
def pair(word: str, size: str) -> str:
    return word + size


@light
def two(name: str, size: int) -> str:
    return f"{name}{size}"


@family.case(Expect(outputs={"for-loop-2/0/pair.Output": "a1", "for-loop-2/1/pair.Output": "b2"}))
@dsl.pipeline(name="fields-of-items")
def fields_of_items():
    with dsl.ParallelFor([{"word": "a", "size": "1"}, {"word": "b", "size": "2"}]) as item:
        pair(word=item.word, size=item.size)


@light
def deep(table: dict) -> str:
    return str(table["b"]["c"][0])


@family.case(Expect(outputs={"for-loop-1/0/deep.Output": "1", "for-loop-1/1/deep.Output": "2"}))
@dsl.pipeline(name="whole-items-are-dictionaries")
def whole_items(items: list = [{"b": {"c": [1]}}, {"b": {"c": [2]}}]):
    with dsl.ParallelFor(items) as item:
        deep(table=item)


@family.case(
    Expect(outputs={"for-loop-1/0/say.Output": "x", "for-loop-1/1/say.Output": "y"}, absent=("for-loop-1/2",)),
    items=["x", "y"],
)
@dsl.pipeline(name="items-from-a-parameter")
def items_from_a_parameter(items: list):
    with dsl.ParallelFor(items) as item:
        say(text=item)


@family.case(Expect(outputs={f"for-loop-1/{each}/add.Output": each + 1 for each in range(5)}))
@dsl.pipeline(name="items-from-a-task")
def items_from_a_task():
    with dsl.ParallelFor(numbers(count=5).output) as item:
        add(a=item)


@light
def pairs() -> list:
    return [{"word": "a", "size": "1"}, {"word": "b", "size": "2"}]


@family.case(Expect(outputs={"for-loop-1/1/pair.Output": "b2"}))
@dsl.pipeline(name="fields-of-items-from-a-task")
def fields_of_items_from_a_task():
    with dsl.ParallelFor(pairs().output) as item:
        pair(word=item.word, size=item.size)


def _empty(seen: Seen) -> None:
    assert seen.below("for-loop-1") == [], seen.story()


@family.case(Expect(states={"for-loop-1": SUCCEEDED, "say-2": SUCCEEDED}, check=_empty), items=[])
@dsl.pipeline(name="no-items")
def no_items(items: list):
    with dsl.ParallelFor(items) as item:
        inside = say(text=item)
    assert inside
    say(text="after")


@light
def overlap(item: int) -> list:
    import time

    start = time.monotonic()
    time.sleep(0.3)
    return [start, time.monotonic()]


def _one_at_a_time(seen: Seen) -> None:
    spans = sorted(seen.output(f"for-loop-2/{each}/overlap.Output") for each in range(3))
    assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans


@family.case(Expect(check=_one_at_a_time))
@dsl.pipeline(name="one-at-a-time")
def one_at_a_time():
    with dsl.ParallelFor([1, 2, 3], parallelism=1) as item:
        overlap(item=item)


def _two_at_a_time(seen: Seen) -> None:
    spans = [seen.output(f"for-loop-2/{each}/overlap.Output") for each in range(5)]
    for start, _ in spans:
        assert sum(other[0] <= start < other[1] for other in spans) <= 2, spans


@family.case(Expect(check=_two_at_a_time))
@dsl.pipeline(name="two-at-a-time")
def two_at_a_time():
    with dsl.ParallelFor([1, 2, 3, 4, 5], parallelism=2) as item:
        overlap(item=item)


@family.case(
    Expect(
        outputs={
            f"for-loop-2/{outer}/for-loop-4/{inner}/two.Output": f"{'ab'[outer]}{inner + 1}"
            for outer in range(2)
            for inner in range(3)
        }
    )
)
@dsl.pipeline(name="loops-within-loops")
def nested():
    with dsl.ParallelFor(["a", "b"]) as outer, dsl.ParallelFor([1, 2, 3]) as inner:
        two(name=outer, size=inner)


@family.case(
    Expect(
        outputs={
            "for-loop-1/0/for-loop-2/0/add.Output": 2,
            "for-loop-1/0/for-loop-2/1/add.Output": 3,
            "for-loop-1/1/for-loop-2/0/add.Output": 4,
        },
        absent=("for-loop-1/1/for-loop-2/1",),
    )
)
@dsl.pipeline(name="items-that-are-lists-are-looped-over")
def items_that_are_lists(lists: list[list[int]] = [[1, 2], [3]]):
    with dsl.ParallelFor(lists) as items, dsl.ParallelFor(items) as item:
        add(a=item)


@family.case(
    Expect(
        states={
            "for-loop-2/0/condition-3": SKIPPED,
            "for-loop-2/1/condition-3": SUCCEEDED,
            "for-loop-2/2/condition-3": SUCCEEDED,
        },
        outputs={"for-loop-2/1/condition-3/add.Output": 3},
    )
)
@dsl.pipeline(name="conditions-on-items")
def conditions_on_items():
    with dsl.ParallelFor([1, 2, 3]) as item, dsl.If(item > 1):
        add(a=item)


@family.case(
    Expect(
        states={"condition-1": SUCCEEDED, "condition-4": SKIPPED},
        outputs={"condition-1/for-loop-3/1/add.Output": 12},
    )
)
@dsl.pipeline(name="a-loop-within-a-condition")
def a_loop_within_a_condition(flag: bool = True, number: int = 10):
    with dsl.If(flag == True), dsl.ParallelFor([1, 2]) as item:  # noqa: E712
        add(a=item, b=number)
    with dsl.If(flag == False), dsl.ParallelFor([1, 2]) as item:  # noqa: E712
        add(a=item, b=number)


@family.case(
    Expect(
        outputs={
            "for-loop-2/0/say-2.Output": "a-made-outer",
            "for-loop-2/1/say-2.Output": "b-made-outer",
        }
    )
)
@dsl.pipeline(name="values-from-outside-a-loop")
def values_from_outside(text: str = "outer"):
    made = say(text="made")
    with dsl.ParallelFor(["a", "b"]) as item:
        say(text=f"{item}-{made.output}-{text}")


@family.case(
    Expect(
        FAILED,
        states={"for-loop-2": FAILED, "for-loop-2/0/say": SUCCEEDED, "for-loop-2/1/condition-3": FAILED},
        absent=("describe",),
    )
)
@dsl.pipeline(name="a-failing-iteration-fails-the-loop")
def a_failing_iteration():
    with dsl.ParallelFor(["good", "bad"]) as item:
        said = say(text=item)
        with dsl.If(item == "bad"):
            fail(reason=item)
    describe(value=dsl.Collected(said.output))


@dsl.pipeline(name="making-parts")
def parts() -> list[Dataset]:
    with dsl.ParallelFor(["a", "b"]) as item:
        made = write(text=item)
    return dsl.Collected(made.outputs["data"])


@family.case(Expect(outputs={"for-loop-1/0/read.Output": "a", "for-loop-1/1/read.Output": "b"}))
@dsl.pipeline(name="over-artifacts")
def over_artifacts():
    with dsl.ParallelFor(parts().output) as data:
        read(data=data)


@family.case(Expect(outputs={"for-loop-1/0/give-list.Output": [1, [2]], "for-loop-1/1/give-list.Output": []}))
@dsl.pipeline(name="items-are-lists")
def items_are_lists(items: list = [[1, [2]], []]):
    with dsl.ParallelFor(items) as item:
        give_list(items=item)


def _all(seen: Seen) -> None:
    values = [seen.output(f"for-loop-1/{each}/add.Output") for each in range(60)]
    assert values == [each + 1 for each in range(60)], seen.story()


@family.case(Expect(check=_all))
@dsl.pipeline(name="sixty-iterations")
def sixty_iterations():
    with dsl.ParallelFor(numbers(count=60).output) as item:
        add(a=item)


def _named(seen: Seen) -> None:
    found = [seen.tasks[name].message["display_name"] for name in ("for-loop-2", "condition-3")]
    assert found == ["each", "only b"], seen.story()


@family.case(Expect(outputs={"for-loop-2/0/say.Output": "a", "condition-3/say-2.Output": "b"}, check=_named))
@dsl.pipeline(name="groups-with-names")
def groups_with_names(text: str = "b"):
    with dsl.ParallelFor(["a"], name="each") as item:
        say(text=item)
    with dsl.If(text == "b", name="only b"):
        say(text=text)
