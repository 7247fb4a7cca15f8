"""Conditions: every operator and type, If/Elif/Else, nesting, OneOf, and what follows a task that was skipped."""

from typing import Any

from kfp import dsl
from kfp.dsl import Dataset
from tests.e2e.pipelines.conformance.cases import FAILED, SKIPPED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.steps import add, fail, flip, halve, read, say, write

family = Family("conditions")


@family.case(
    Expect(states={"condition-1": SUCCEEDED, "condition-2": SKIPPED}, outputs={"condition-1/say.Output": "yes"})
)
@dsl.pipeline(name="if-on-a-boolean")
def if_on_a_boolean(flag: bool = True):
    with dsl.If(flag == True):  # noqa: E712  # a channel compares like this
        say(text="yes")
    with dsl.If(flag == False):  # noqa: E712
        say(text="no")


def _operators(low: Any, high: Any, value: Any) -> None:
    with dsl.If(value == high):
        say(text="==")
    with dsl.If(value != high):
        say(text="!=")
    with dsl.If(value < high):
        say(text="<")
    with dsl.If(value <= high):
        say(text="<=")
    with dsl.If(value > high):
        say(text=">")
    with dsl.If(value >= high):
        say(text=">=")
    with dsl.If(value > low):
        say(text="> low")


OPERATORS = {
    "condition-1": SKIPPED,
    "condition-2": SUCCEEDED,
    "condition-3": SUCCEEDED,
    "condition-4": SUCCEEDED,
    "condition-5": SKIPPED,
    "condition-6": SKIPPED,
    "condition-7": SUCCEEDED,
}


@family.case(Expect(states=OPERATORS), number=9)
@dsl.pipeline(name="operators-on-integers")
def operators_on_integers(number: int):
    _operators(-5, 10, number)


@family.case(Expect(states=OPERATORS), x=9.5)
@dsl.pipeline(name="operators-on-floats")
def operators_on_floats(x: float):
    _operators(-0.5, 9.75, x)


@family.case(Expect(states=OPERATORS), text="abc")
@dsl.pipeline(name="operators-on-texts")
def operators_on_texts(text: str):
    _operators("ABC", "abd", text)


@family.case(Expect(states=OPERATORS), number=9, other=10, low=-1)
@dsl.pipeline(name="operators-on-two-parameters")
def operators_on_parameters(number: int, other: int, low: int):
    _operators(low, other, number)


@family.case(Expect(states={"condition-1": SUCCEEDED, "condition-2": SKIPPED}))
@dsl.pipeline(name="outputs-of-tasks-are-compared")
def outputs_are_compared():
    first, second = add(a=1, b=2), add(a=2, b=2)
    with dsl.If(first.output < second.output):
        say(text="less")
    with dsl.If(halve(x=8.0).output != 4.0):
        say(text="other")


@family.case(
    Expect(states={"condition-1": SUCCEEDED, "condition-2": SUCCEEDED, "condition-3": SKIPPED}), text="it's 'x'"
)
@dsl.pipeline(name="texts-with-quotes-are-compared")
def quotes_are_compared(text: str):
    with dsl.If(text == "it's 'x'"):
        say(text="same")
    with dsl.If(text != 'a "b" && c'):
        say(text="other")
    with dsl.If(text == ""):
        say(text="empty")


def _branches(number: Any) -> None:
    with dsl.If(number < 0):
        say(text="negative")
    with dsl.Elif(number == 0):
        say(text="zero")
    with dsl.Elif(number < 10):
        say(text="small")
    with dsl.Else():
        say(text="large")


def _taken(number: int) -> Expect:
    states = {f"condition-branches-1/condition-{each}": SKIPPED for each in (2, 3, 4, 5)}
    return Expect(states=states | {f"condition-branches-1/condition-{number}": SUCCEEDED})


@family.case(_taken(2), number=-1)
@dsl.pipeline(name="if-elif-else-takes-the-first")
def takes_the_first(number: int):
    _branches(number)


@family.case(_taken(3), number=0)
@dsl.pipeline(name="if-elif-else-takes-the-second")
def takes_the_second(number: int):
    _branches(number)


@family.case(_taken(4), number=9)
@dsl.pipeline(name="if-elif-else-takes-the-third")
def takes_the_third(number: int):
    _branches(number)


@family.case(_taken(5), number=10)
@dsl.pipeline(name="if-elif-else-takes-the-last")
def takes_the_last(number: int):
    _branches(number)


@family.case(
    Expect(
        states={
            "condition-1/condition-2": SUCCEEDED,
            "condition-1/condition-3": SKIPPED,
            "condition-4": SKIPPED,
        },
        outputs={"condition-1/condition-2/say.Output": "both"},
        absent=("condition-4/condition-5", "condition-4/say"),
    ),
    number=7,
)
@dsl.pipeline(name="conditions-within-conditions")
def nested(number: int):
    with dsl.If(number > 5):
        with dsl.If(number < 10):
            say(text="both")
        with dsl.If(number > 10):
            say(text="large")
    with dsl.If(number > 50):
        say(text="x")
        with dsl.If(number < 10):
            say(text="never")


@family.case(Expect(outputs={"say-5.Output": "got small", "root.Output": "small"}), number=3)
@dsl.pipeline(name="one-of-parameters")
def one_of_parameters(number: int) -> str:
    with dsl.If(number < 0):
        first = say(text="negative")
    with dsl.Elif(number < 10):
        second = say(text="small")
    with dsl.Else():
        third = say(text="large")
    chosen = dsl.OneOf(first.output, second.output, third.output)
    say(text=f"got {say(text=chosen).set_display_name('passed').output}")
    return chosen


@family.case(Expect(outputs={"read.Output": "heads"}, artifacts={"root.Output": ("Dataset", {"length": 5})}))
@dsl.pipeline(name="one-of-artifacts")
def one_of_artifacts(flag: bool = True) -> Dataset:
    with dsl.If(flip(heads=flag).output == True):  # noqa: E712
        first = write(text="heads")
    with dsl.Else():
        second = write(text="tails")
    chosen = dsl.OneOf(first.outputs["data"], second.outputs["data"])
    read(data=chosen)
    return chosen


@family.case(Expect(outputs={"root.Output": "b-two"}), first=False, second=2)
@dsl.pipeline(name="one-of-within-one-of")
def one_of_within_one_of(first: bool, second: int) -> str:
    with dsl.If(first == True):  # noqa: E712
        top = say(text="a")
    with dsl.Else():
        with dsl.If(second == 1):
            one = say(text="b-one")
        with dsl.Else():
            two = say(text="b-two")
        inner = say(text=dsl.OneOf(one.output, two.output))
    return dsl.OneOf(top.output, inner.output)


@family.case(
    Expect(
        states={"condition-1": SKIPPED, "say": SUCCEEDED},
        absent=("condition-1/say-2", "condition-1/say-3"),
    ),
)
@dsl.pipeline(name="what-follows-a-skipped-task-is-left-out")
def left_out(flag: bool = False):
    say(text="independent")
    with dsl.If(flag == True):  # noqa: E712
        say(text=say(text="x").output)


@family.case(
    Expect(FAILED, states={"condition-1": FAILED, "condition-1/fail": FAILED}, errors={"condition-1": "ValueError"})
)
@dsl.pipeline(name="a-failure-within-a-condition-fails-the-run")
def a_failure_within(flag: bool = True):
    with dsl.If(flag == True):  # noqa: E712
        fail()
