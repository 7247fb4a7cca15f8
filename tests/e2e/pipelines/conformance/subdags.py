"""Pipelines within pipelines: inputs, defaults, outputs, artifacts, depth, and components that come as YAML."""

from typing import NamedTuple, Optional

from kfp import components, dsl
from kfp.dsl import Dataset, Input, Model
from tests.e2e.pipelines.conformance.cases import FAILED, SKIPPED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.steps import add, fail, light, read, read_any, say, total, train, write

family = Family("subdags")


@dsl.pipeline(name="inner-sum")
def inner_sum(a: int, b: int = 5) -> int:
    return add(a=add(a=a, b=b).output, b=100).output


@family.case(Expect(outputs={"inner-sum.Output": 106, "inner-sum-2.Output": 112, "add.Output": 113}))
@dsl.pipeline(name="a-pipeline-as-a-component")
def as_a_component():
    inner_sum(a=1)
    add(a=inner_sum(a=10, b=2).output)


@dsl.pipeline(name="middle")
def middle(a: int) -> int:
    return inner_sum(a=inner_sum(a=a).output).output


@family.case(Expect(outputs={"middle/inner-sum-2/add-2.Output": 211, "root.Output": 211}), a=1)
@dsl.pipeline(name="three-levels")
def three_levels(a: int) -> int:
    return middle(a=a).output


@dsl.pipeline(name="training")
def training(data: Input[Dataset], rate: float = 0.5) -> Model:
    return train(data=data, rate=rate).outputs["model"]


@family.case(
    Expect(
        outputs={"read-any.Output": "TEXT"},
        artifacts={"training.Output": ("Model", {"rate": 0.25, "framework": "none"})},
    )
)
@dsl.pipeline(name="artifacts-in-and-out")
def artifacts_in_and_out():
    made = training(data=write(text="text").outputs["data"], rate=0.25)
    read_any(data=made.output)


@dsl.pipeline(name="several")
def several(text: str) -> NamedTuple("Several", [("said", str), ("data", Dataset), ("count", int)]):
    outs = NamedTuple("Several", [("said", str), ("data", Dataset), ("count", int)])
    return outs(said=say(text=text).output, data=write(text=text).outputs["data"], count=add(a=1).output)


@family.case(Expect(outputs={"read.Output": "x", "say.Output": "x", "add.Output": 3}))
@dsl.pipeline(name="several-outputs")
def several_outputs():
    made = several(text="x")
    read(data=made.outputs["data"])
    say(text=made.outputs["said"])
    add(a=made.outputs["count"])


@light
def shown(text: Optional[str] = None, number: Optional[int] = 3) -> str:
    return f"{text} {number}"


@dsl.pipeline(name="with-optionals")
def with_optionals(text: Optional[str] = None, number: Optional[int] = None, given: str = "d") -> str:
    say(text=given)
    return shown(text=text, number=number).output


@family.case(
    Expect(
        outputs={
            "with-optionals.Output": "None 3",
            "with-optionals-2.Output": "t 4",
            "with-optionals/say.Output": "d",
            "with-optionals-2/say.Output": "g",
        }
    )
)
@dsl.pipeline(name="optional-inputs-of-pipelines")
def optional_inputs():
    with_optionals()
    with_optionals(text="t", number=4, given="g")


@dsl.pipeline(name="looping")
def looping(items: list) -> list[int]:
    with dsl.ParallelFor(items) as item:
        made = add(a=item)
    return dsl.Collected(made.output)


@family.case(Expect(outputs={"total.Output": 9, "looping/for-loop-1/2/add.Output": 4}))
@dsl.pipeline(name="a-loop-within-a-pipeline-within-a-pipeline")
def a_loop_within():
    total(values=looping(items=[1, 2, 3]).output)


@dsl.pipeline(name="choosing")
def choosing(flag: bool) -> str:
    with dsl.If(flag == True):  # noqa: E712
        yes = say(text="yes")
    with dsl.Else():
        no = say(text="no")
    return dsl.OneOf(yes.output, no.output)


@family.case(Expect(outputs={"say.Output": "yes", "say-2.Output": "no"}))
@dsl.pipeline(name="a-condition-within-a-pipeline-within-a-pipeline")
def a_condition_within():
    say(text=choosing(flag=True).output)
    say(text=choosing(flag=False).output)


@family.case(
    Expect(
        outputs={"for-loop-2/0/inner-sum.Output": 106, "for-loop-2/1/inner-sum.Output": 107},
        states={"condition-3": SKIPPED},
        absent=("condition-3/inner-sum-2",),
    )
)
@dsl.pipeline(name="pipelines-within-loops-and-conditions")
def within_loops(flag: bool = False):
    with dsl.ParallelFor([1, 2]) as item:
        inner_sum(a=item)
    with dsl.If(flag == True):  # noqa: E712
        inner_sum(a=1)


@dsl.pipeline(name="failing-inside")
def failing_inside(text: str) -> str:
    failed = fail(reason=text)
    say(text="beside")
    return say(text=failed.output).output


@family.case(
    Expect(
        FAILED,
        states={"failing-inside": FAILED, "failing-inside/fail": FAILED, "failing-inside/say": SUCCEEDED},
        errors={"failing-inside": "deep inside", "root": "deep inside"},
        run_error="deep inside",
        absent=("say",),
    )
)
@dsl.pipeline(name="a-failure-deep-inside-is-told-at-the-top")
def a_failure_inside():
    say(text=failing_inside(text="deep inside").output)


SHELL = """
name: greet
inputs:
- {name: who, type: String, default: world}
- {name: often, type: Integer}
outputs:
- {name: greeting, type: String}
implementation:
  container:
    image: alpine:3
    command: [sh, -c, 'mkdir -p "$(dirname "$2")"; for i in $(seq $1); do printf "hi $0;"; done > "$2"']
    args: [{inputValue: who}, {inputValue: often}, {outputPath: greeting}]
"""
greet = components.load_component_from_text(SHELL)


@family.case(Expect(outputs={"greet.greeting": "hi world;hi world;", "greet-2.greeting": "hi you;"}))
@dsl.pipeline(name="components-of-kfp-1-as-yaml")
def of_version_one():
    greet(often=2)
    greet(who="you", often=1)


def _reloaded() -> components.YamlComponent:
    import tempfile
    from pathlib import Path

    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "inner.yaml")
        compiler.Compiler().compile(inner_sum, target)
        return components.load_component_from_file(target)


reloaded = _reloaded()


@family.case(Expect(outputs={"inner-sum.Output": 108, "inner-sum-2.Output": 106}))
@dsl.pipeline(name="a-compiled-pipeline-as-a-component")
def a_compiled_pipeline():
    reloaded(a=1, b=7)
    inner_sum(a=1)


@family.case(Expect(outputs={"add.Output": 3, "root.Output": 3}), a=1, b=2)
@dsl.pipeline(name="a-component-alone")
def a_component_alone(a: int, b: int) -> int:
    return add(a=a, b=b).output
