"""Sizes: long chains, many tasks, large values, long names, deep nesting."""

from typing import Any

from kfp import dsl
from tests.e2e.pipelines.conformance.cases import Expect, Family
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import add, light, say, total

family = Family("limits")


@family.case(Expect(outputs={"add-30.Output": 30}))
@dsl.pipeline(name="a-chain-of-thirty")
def a_chain():
    made = add(a=0)
    for _ in range(29):
        made = add(a=made.output)


@family.case(Expect(outputs={"total.Output": 435}))
@dsl.pipeline(name="thirty-at-once")
def at_once():
    with dsl.ParallelFor(list(range(30))) as item:
        made = add(a=item, b=0)
    total(values=dsl.Collected(made.output))


@light
def long(length: int) -> str:
    return "ü" * length


@light
def measure(text: str) -> int:
    return len(text)


@family.case(Expect(outputs={"measure.Output": 100_000, "measure-2.Output": 200_000}), text="x" * 200_000)
@dsl.pipeline(name="large-values")
def large_values(text: str):
    measure(text=long(length=100_000).output)
    measure(text=text)


@light
def many(count: int) -> dict:
    return {f"key-{number}": list(range(10)) for number in range(count)}


@light
def size(table: dict) -> int:
    return sum(len(each) for each in table.values())


@family.case(Expect(outputs={"size.Output": 20_000}))
@dsl.pipeline(name="large-dictionaries")
def large_dictionaries():
    size(table=many(count=2_000).output)


LONG = "a-very-long-name-of-a-pipeline-" * 4


@family.case(Expect(outputs={"add.Output": 2}))
@dsl.pipeline(name=LONG[:120].strip("-"))
def a_long_name():
    add(a=1).set_display_name("ü" * 100)


def _around(inner: Any, depth: int) -> Any:
    @dsl.pipeline(name=f"level-{depth}")
    def level(number: int) -> int:
        return add(a=inner(**{"a" if depth == 0 else "number": number}).output).output

    return level


deep: Any = add
for _depth in range(8):
    deep = _around(deep, _depth)


def _levels(seen: Seen) -> None:
    assert max(path.count("/") for path in seen.tasks) == 8, seen.story()


@family.case(Expect(outputs={"level-7.Output": 9}, check=_levels))
@dsl.pipeline(name="eight-levels-deep")
def levels():
    deep(number=0)


@family.case(Expect(outputs={"say-40.Output": "39"}))
@dsl.pipeline(name="forty-tasks-side-by-side")
def side_by_side():
    for number in range(40):
        say(text=str(number))
