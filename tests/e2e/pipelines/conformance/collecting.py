"""dsl.Collected: parameters and artifacts of loops, nested ones too, empty ones, and what is done with them."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model
from tests.e2e.pipelines.conformance.cases import Expect, Family
from tests.e2e.pipelines.conformance.steps import (
    add,
    describe,
    give_dict,
    join,
    light,
    numbers,
    say,
    total,
    train,
    write,
)

family = Family("collected")


@family.case(Expect(outputs={"total.Output": 9, "describe.Output": "[2, 3, 4]"}))
@dsl.pipeline(name="collected-parameters")
def parameters():
    with dsl.ParallelFor([1, 2, 3]) as item:
        made = add(a=item)
    total(values=dsl.Collected(made.output))
    describe(value=dsl.Collected(made.output))


@light
def slow(text: str) -> str:
    import time

    time.sleep(0.5 if text == "b" else 0)
    return text


@family.case(Expect(outputs={"describe.Output": '["b", "a", "c"]'}))
@dsl.pipeline(name="collected-in-the-order-of-items")
def in_order():
    with dsl.ParallelFor(["b", "a", "c"]) as item:
        made = slow(text=item)
    describe(value=dsl.Collected(made.output))


@family.case(Expect(outputs={"join.Output": "x,y"}))
@dsl.pipeline(name="collected-artifacts")
def artifacts():
    with dsl.ParallelFor(["x", "y"]) as item:
        made = write(text=item)
    join(parts=dsl.Collected(made.outputs["data"]))


@light
def describe_nested(value: list[list[int]]) -> str:
    import json

    return json.dumps(value)


@family.case(Expect(outputs={"describe-nested.Output": "[[11, 12], [21, 22], [31, 32]]"}))
@dsl.pipeline(name="nested-lists-of-parameters")
def nested_parameters():
    with dsl.ParallelFor([10, 20, 30]) as outer, dsl.ParallelFor([1, 2]) as inner:
        made = add(a=outer, b=inner)
    describe_nested(value=dsl.Collected(made.output))


@family.case(Expect(outputs={"join.Output": "a1,a2,b1,b2"}))
@dsl.pipeline(name="artifacts-of-nested-loops-are-one-list")
def nested_artifacts():
    with dsl.ParallelFor(["a", "b"]) as outer, dsl.ParallelFor(["1", "2"]) as inner:
        made = write(text=f"{outer}{inner}")
    join(parts=dsl.Collected(made.outputs["data"]))


@family.case(
    Expect(
        outputs={"for-loop-2/0/total.Output": 23, "for-loop-2/1/total.Output": 43},
    )
)
@dsl.pipeline(name="collected-within-the-outer-loop")
def within_the_outer_loop():
    with dsl.ParallelFor([10, 20]) as outer:
        with dsl.ParallelFor([1, 2]) as inner:
            made = add(a=outer, b=inner)
        total(values=dsl.Collected(made.output))


@family.case(Expect(outputs={"describe.Output": "[]", "total.Output": 0}), items=[])
@dsl.pipeline(name="nothing-is-collected-from-no-items")
def from_no_items(items: list):
    with dsl.ParallelFor(items) as item:
        made = add(a=item)
    describe(value=dsl.Collected(made.output))
    total(values=dsl.Collected(made.output))


@light
def count(parts: Input[list[Dataset]]) -> int:
    return len(parts or [])  # the SDK's executor gives None for an empty list


@family.case(Expect(outputs={"count.Output": 0}), items=[])
@dsl.pipeline(name="no-artifacts-are-collected-from-no-items")
def no_artifacts(items: list):
    with dsl.ParallelFor(items) as item:
        made = write(text=item)
    count(parts=dsl.Collected(made.outputs["data"]))


@family.case(Expect(outputs={"root.Output": [2, 3]}))
@dsl.pipeline(name="a-list-as-the-pipelines-output")
def as_output() -> list[int]:
    with dsl.ParallelFor([1, 2]) as item:
        made = add(a=item)
    return dsl.Collected(made.output)


@family.case(Expect(artifacts={"root.Output": [("Dataset", {"length": 1}), ("Dataset", {"length": 2})]}))
@dsl.pipeline(name="artifacts-as-the-pipelines-output")
def artifacts_as_output() -> list[Dataset]:
    with dsl.ParallelFor(["a", "bb"]) as item:
        made = write(text=item)
    return dsl.Collected(made.outputs["data"])


@light
def merge(tables: list[dict]) -> dict:
    return {key: value for table in tables for key, value in table.items()}


@family.case(Expect(outputs={"merge.Output": {"k": [1, None], "l": {}}}), tables=[{"k": [1, None]}, {"l": {}}])
@dsl.pipeline(name="collected-dictionaries")
def dictionaries(tables: list[dict]):
    with dsl.ParallelFor(tables) as item:
        made = give_dict(table=item)
    merge(tables=dsl.Collected(made.output))


@light
def best(models: Input[list[Model]]) -> str:
    chosen = max(models, key=lambda each: each.metadata["rate"])
    return open(chosen.path).read() + f" {chosen.metadata['rate']}"


@family.case(Expect(outputs={"best.Output": "DATA 0.75"}))
@dsl.pipeline(name="the-best-of-a-sweep")
def sweep():
    data = write(text="data").outputs["data"]
    with dsl.ParallelFor([0.25, 0.75, 0.5]) as rate:
        model = train(data=data, rate=rate).outputs["model"]
    best(models=dsl.Collected(model))


@light
def shout(text: str) -> str:
    return f"{text}!"


@light
def listed(values: list) -> list:
    return values


@family.case(Expect(outputs={"for-loop-3/1/say.Output": "b!", "total.Output": 3}))
@dsl.pipeline(name="what-was-collected-is-looped-over")
def looped_over():
    made = numbers(count=3)
    total(values=made.output)
    with dsl.ParallelFor(["a", "b"]) as item:
        shouted = shout(text=item)
    with dsl.ParallelFor(listed(values=dsl.Collected(shouted.output)).output) as item:
        say(text=item)


@dsl.pipeline(name="twice")
def twice(number: int) -> int:
    return add(a=add(a=number, b=10).output, b=20).output


@family.case(Expect(outputs={"total.Output": 63}))
@dsl.pipeline(name="a-loop-of-pipelines-is-collected")
def of_pipelines():
    with dsl.ParallelFor([1, 2]) as item:
        made = twice(number=item)
    total(values=dsl.Collected(made.output))


@light
def two_outputs(number: int, data: dsl.Output[Dataset]) -> int:
    with open(data.path, "w") as file:
        file.write(str(number))
    return number * 10


@family.case(Expect(outputs={"join.Output": "1,2", "total.Output": 30}))
@dsl.pipeline(name="parameters-and-artifacts-of-one-step")
def both():
    with dsl.ParallelFor([1, 2], parallelism=1) as item:
        made = two_outputs(number=item)
    join(parts=dsl.Collected(made.outputs["data"]))
    total(values=dsl.Collected(made.outputs["Output"]))
