"""Features within each other, as pipelines of users have them."""

from kfp import dsl
from kfp.dsl import Dataset, Model, PipelineTaskFinalStatus
from tests.e2e.pipelines.conformance.cases import CACHED, FAILED, SKIPPED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.steps import (
    add,
    describe,
    fail,
    join,
    light,
    numbers,
    read,
    read_any,
    say,
    total,
    train,
    write,
)

family = Family("combinations")


@light
def remainder(number: int) -> int:
    return number % 2


@light
def forward(text: str) -> str:
    return text


@family.case(
    Expect(
        outputs={
            "for-loop-2/0/say-3.Output": "got even",
            "for-loop-2/1/say-3.Output": "got odd",
            "for-loop-2/2/say-3.Output": "got even",
        }
    )
)
@dsl.pipeline(name="one-of-within-a-loop")
def one_of_within_a_loop():
    with dsl.ParallelFor([0, 1, 2]) as item:
        rest = remainder(number=item)
        with dsl.If(rest.output == 0):
            even = say(text="even")
        with dsl.Else():
            odd = say(text="odd")
        say(text=f"got {forward(text=dsl.OneOf(even.output, odd.output)).output}")


@dsl.pipeline(name="parity")
def parity(number: int) -> str:
    with dsl.If(remainder(number=number).output == 0):
        even = say(text="even")
    with dsl.Else():
        odd = say(text="odd")
    return dsl.OneOf(even.output, odd.output)


@family.case(Expect(outputs={"describe.Output": '["even", "odd", "even"]'}))
@dsl.pipeline(name="one-of-within-pipelines-collected-from-a-loop")
def one_of_collected():
    with dsl.ParallelFor(numbers(count=3).output) as number:
        made = parity(number=number)
    describe(value=dsl.Collected(made.output))


@light
def two(data: dsl.Input[Dataset], outer: str, inner: str) -> str:
    return f"{open(data.path).read()} {outer} {inner}"


@family.case(
    Expect(
        outputs={
            "for-loop-2/0/condition-3/for-loop-5/1/two.Output": "base a 2",
            "for-loop-2/1/condition-3/for-loop-5/0/two.Output": "base b 1",
        },
        states={"for-loop-2/2/condition-3": SKIPPED},
    )
)
@dsl.pipeline(name="artifacts-from-outside-into-loops-within-conditions-within-loops")
def deep_inside(limit: str = "c"):
    data = write(text="base").outputs["data"]
    with dsl.ParallelFor(["a", "b", "c"]) as outer, dsl.If(outer < limit), dsl.ParallelFor(["1", "2"]) as inner:
        two(data=data, outer=outer, inner=inner)


@light
def flaky(number: int) -> int:
    import os

    if os.environ["KFP_RETRY_INDEX"] == "0" and number % 2:
        raise RuntimeError("odd ones fail at first")
    return number * 10


@light
def note(status: PipelineTaskFinalStatus) -> str:
    return status.state


@family.case(Expect(outputs={"exit-handler-1/total.Output": 60, "note.Output": "SUCCEEDED"}))
@dsl.pipeline(name="retries-within-loops-within-a-handler")
def retries_within_everything():
    with dsl.ExitHandler(note()):
        with dsl.ParallelFor([1, 2, 3]) as item:
            made = flaky(number=item).set_retry(num_retries=2, backoff_duration="0s")
        total(values=dsl.Collected(made.output))


@light
def rescue(text: str = "rescued") -> str:
    return text


@family.case(
    Expect(
        FAILED,
        outputs={"for-loop-2/0/rescue.Output": "rescued", "for-loop-2/1/rescue.Output": "rescued"},
        states={"for-loop-2": FAILED, "for-loop-2/0/fail": FAILED},
    )
)
@dsl.pipeline(name="failures-that-are-ignored-within-a-loop")
def ignored_within_a_loop():
    with dsl.ParallelFor([1, 2]):
        rescue(text=fail().output).ignore_upstream_failure()


@light
def best(models: dsl.Input[list[Model]]) -> float:
    return max(model.metadata["rate"] for model in models)


@dsl.pipeline(name="cached-sweep")
def cached_sweep():
    data = write(text="data").outputs["data"]
    with dsl.ParallelFor([0.1, 0.2]) as rate:
        model = train(data=data, rate=rate).outputs["model"]
    best(models=dsl.Collected(model))


@family.scenario
def a_whole_sweep_is_cached(driver: Driver) -> None:
    names = ("write", "for-loop-2/0/train", "for-loop-2/1/train", "best")
    for state in (SUCCEEDED, CACHED):
        seen = driver.run(cached_sweep)
        assert {name: seen.state(name) for name in names} == dict.fromkeys(names, state), seen.story()
        assert seen.output("best.Output") == 0.2


@dsl.pipeline(name="with-an-importer")
def with_an_importer(uri: str) -> Dataset:
    return dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=True).output


@light
def uri_of(data: dsl.Input[Dataset]) -> str:
    return data.uri


@family.case(Expect(outputs={"uri-of.Output": "s3://elsewhere/x", "for-loop-2/0/uri-of-2.Output": "s3://elsewhere/y"}))
@dsl.pipeline(name="importers-within-pipelines-within-loops")
def importers_within():
    uri_of(data=with_an_importer(uri="s3://elsewhere/x").output)
    with dsl.ParallelFor(["s3://elsewhere/y"]) as uri:
        uri_of(data=with_an_importer(uri=uri).output)


@light
def keep(folder: str, name: str) -> str:
    with open(f"{folder}/{name}", "w") as file:
        file.write(f"{name}:ab")
    return name


@light
def gather(folder: str, names: list) -> str:
    return ",".join(open(f"{folder}/{name}").read() for name in names)


@family.case(
    Expect(
        outputs={"gather.Output": "0:ab,1:ab", "read-any.Output": "AB"},
        artifacts={"root.Output": ("Model", {"rate": 0.5, "framework": "none"})},
    )
)
@dsl.pipeline(
    name="the-workspace-and-artifacts-within-loops",
    pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="5Mi")),
)
def workspace_within_loops() -> Model:
    with dsl.ParallelFor(["0", "1"]) as item:
        kept = keep(folder=dsl.WORKSPACE_PATH_PLACEHOLDER, name=item)
        written = write(text=kept.output)
    gather(folder=dsl.WORKSPACE_PATH_PLACEHOLDER, names=dsl.Collected(kept.output))
    join(parts=dsl.Collected(written.outputs["data"]))
    model = train(data=write(text="ab").outputs["data"]).outputs["model"]
    read_any(data=model)
    return model


@light
def shown() -> str:
    import os

    return f"{os.environ.get('FIRST')} {os.environ.get('SECOND')}"


@family.case(
    Expect(
        outputs={"shown.Output": "red None", "shown-2.Output": "None blue", "read.Output": "x"},
    )
)
@dsl.pipeline(name="the-same-component-in-different-dress")
def different_dress():
    shown().set_env_variable("FIRST", "red").set_memory_limit("200Mi")
    shown().set_env_variable("SECOND", "blue").set_caching_options(False).set_display_name("other")
    read(data=write(text="x").set_cpu_limit("1").outputs["data"])


@dsl.pipeline(name="counting-down")
def one_less(number: int) -> int:
    return add(a=number, b=-1).output


@family.case(
    Expect(
        FAILED,
        states={
            "exit-handler-1/counting-down": SUCCEEDED,
            "exit-handler-1/condition-2": FAILED,
            "exit-handler-1/add": SUCCEEDED,
            "say": SUCCEEDED,
        },
        errors={"root": "three left"},
        absent=("exit-handler-1/condition-2/say-2",),
    )
)
@dsl.pipeline(name="pipelines-and-conditions-within-a-handler")
def within_a_handler(number: int = 4):
    with dsl.ExitHandler(say(text="end")):
        left = one_less(number=number)
        with dsl.If(left.output == 3):
            stopped = fail(reason="three left")
            say(text=stopped.output)
        add(a=left.output)
