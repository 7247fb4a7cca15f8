# ruff: noqa: PTH123, SIM117, UP006, UP014, UP035, UP045  # components are written as users write them
"""What the SDK's constructs mean, each alone and in each other."""

from typing import Any, Dict, List, NamedTuple, Optional

import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from ketch.pipelines.records.states import FAILED, SKIPPED, SUCCEEDED

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
Stage = Any
component = dsl.component(install_kfp_package=False, base_image="python:3.11")


@component
def add(a: int, b: int = 1) -> int:
    return a + b


@component
def flatten(rows: List[List[int]]) -> list:
    return [number for row in rows for number in row]


@component
def describe(value: dict) -> str:
    return ",".join(f"{key}={value[key]}" for key in sorted(value))


@component
def say(text: str) -> str:
    return text


@component
def write(text: str, data: Output[Dataset], model: Output[Model]) -> None:
    for artifact in (data, model):
        with open(artifact.path, "w") as file:
            file.write(text)
    data.metadata["text"] = text


@component
def read(data: Input[Artifact]) -> str:
    with open(data.path) as file:
        return file.read()


@component
def read_all(several: Input[List[Artifact]]) -> str:
    return " ".join(open(each.path).read() for each in several)


@component
def fail(text: str = "boom") -> str:
    raise ValueError(text)


@component
def optional(a: Optional[str] = None, b: str = "default", c: Optional[Dict[str, int]] = None) -> str:
    return f"{a} {b} {c}"


async def outputs(stage: Stage, pipeline: Any, parameters: Any = None) -> Any:
    run, tasks = await stage.run(pipeline, parameters)
    assert run.error is None
    return tasks["root"].outputs["parameters"]


async def test_loops_in_loops_collect_lists_of_lists_and_one_list_of_artifacts(stage: Stage) -> None:
    @dsl.pipeline(name="nested")
    def nested(outer: List[int] = [1, 2]) -> NamedTuple("Results", numbers=list, texts=str):  # noqa: B006
        with dsl.ParallelFor(outer, parallelism=1) as x:
            with dsl.ParallelFor([10, 20], parallelism=1) as y:
                summed = add(a=x, b=y)
                made = write(text=f"{x}-{y}")
        numbers = flatten(rows=dsl.Collected(summed.output))
        texts = read_all(several=dsl.Collected(made.outputs["data"]))
        results = NamedTuple("Results", numbers=list, texts=str)
        return results(numbers=numbers.output, texts=texts.output)

    found = await outputs(stage, nested)
    assert found == {"numbers": [11, 21, 12, 22], "texts": "1-10 1-20 2-10 2-20"}


async def test_a_loop_over_artifacts_sees_one_at_a_time(stage: Stage) -> None:
    @dsl.pipeline(name="several")
    def several() -> List[Dataset]:
        with dsl.ParallelFor(["a", "b", "c"]) as text:
            made = write(text=text)
        return dsl.Collected(made.outputs["data"])

    @dsl.pipeline(name="artifacts")
    def artifacts() -> str:
        with dsl.ParallelFor(items=several().output) as each:
            read(data=each)
        return read_all(several=several().output).output

    run, tasks = await stage.run(artifacts)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": "a b c"}
    heard = [tasks[path].outputs["parameters"]["Output"] for path in sorted(tasks) if path.endswith("/read")]
    assert heard == ["a", "b", "c"]


async def test_loops_over_objects_their_parts_and_outputs_of_tasks(stage: Stage) -> None:
    @component
    def items() -> list:
        return [{"a": 1, "b": {"c": [2]}}, {"a": 3, "b": {"c": [4]}}]

    @dsl.pipeline(name="parts")
    def parts(texts: List[Dict[str, int]] = [{"n": 5}]) -> None:  # noqa: B006
        with dsl.ParallelFor(items().output) as item:
            add(a=item.a, b=10)
            describe(value=item.b)
        with dsl.ParallelFor([{"a": 7, "b": "x"}, {"a": 8, "b": "y"}]) as static:
            add(a=static.a)
            say(text=f"{static.b}!")
        with dsl.ParallelFor(texts) as text:
            describe(value=text)

    run, tasks = await stage.run(parts)
    assert run.error is None
    values = {path: task.outputs["parameters"].get("Output") for path, task in tasks.items()}
    told = sorted(str(value) for path, value in values.items() if path.split("/")[-1].startswith(("add", "d", "s")))
    assert told == sorted(["11", "13", "c=[2]", "c=[4]", "8", "9", "x!", "y!", "n=5"])


async def test_branches_give_values_and_artifacts_and_the_others_are_skipped(stage: Stage) -> None:
    @dsl.pipeline(name="deciding")
    def deciding(n: int) -> NamedTuple("Results", text=str, data=Dataset, kind=str):
        started = add(a=n)
        with dsl.If(started.output > 10):
            large = write(text="large")
            word = say(text="L")
        with dsl.Elif(started.output == 5):
            with dsl.If(n == 4):
                inner = say(text="five")
            with dsl.Else():
                other = say(text="never")
            word_2 = say(text=dsl.OneOf(inner.output, other.output))
            middle = write(text="middle")
        with dsl.Else():
            small = write(text="small")
            word_3 = say(text="S")
        data = dsl.OneOf(large.outputs["data"], middle.outputs["data"], small.outputs["data"])
        kind = dsl.OneOf(word.output, word_2.output, word_3.output)
        results = NamedTuple("Results", text=str, data=Dataset, kind=str)
        return results(text=read(data=data).output, data=data, kind=kind)

    for number, expected in ((20, ("large", "L")), (4, ("middle", "five")), (1, ("small", "S"))):
        run, tasks = await stage.run(deciding, {"n": number})
        assert run.error is None
        found = tasks["root"].outputs
        assert (found["parameters"]["text"], found["parameters"]["kind"]) == expected
        assert len(found["artifacts"]["data"]) == 1
        assert SKIPPED in {task.state for task in tasks.values()}


async def test_pipelines_in_pipelines_with_defaults_nulls_and_outputs(stage: Stage) -> None:
    @dsl.pipeline(name="inner")
    def inner(a: Optional[str] = None, b: str = "inner default", c: Optional[Dict[str, int]] = None) -> str:
        return optional(a=a, b=b, c=c).output

    @dsl.pipeline(name="middle")
    def middle(x: Optional[str] = None, y: Optional[str] = "y") -> NamedTuple("Two", one=str, two=str):
        two = NamedTuple("Two", one=str, two=str)
        return two(one=inner(a=x).output, two=inner(a=y, b="given", c={"k": 1}).output)

    @dsl.pipeline(name="outer")
    def outer(z: Optional[str] = None) -> NamedTuple("Two", one=str, two=str):
        told = middle(x=z)
        with dsl.If(told.outputs["one"] == "None inner default None"):
            say(text="as expected")
        two = NamedTuple("Two", one=str, two=str)
        return two(one=told.outputs["one"], two=told.outputs["two"])

    run, tasks = await stage.run(outer)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"one": "None inner default None", "two": "y given {'k': 1}"}
    assert tasks["root/condition-1/say"].state == SUCCEEDED


@dsl.container_component
def shell(out: dsl.OutputPath(str), a: str, b: Optional[str] = None, c: Optional[str] = None):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'out="$1"; shift; printf "[%s]" "$@" > "$out"', "sh", out],
        args=[
            dsl.ConcatPlaceholder(["--a=", a, dsl.IfPresentPlaceholder("b", dsl.ConcatPlaceholder([";b=", b]), "")]),
            dsl.IfPresentPlaceholder("b", ["--b", b], ["--no-b"]),
            dsl.IfPresentPlaceholder(
                "c", then=["--c", dsl.ConcatPlaceholder(["<", c, ">"])], else_=[dsl.ConcatPlaceholder(["no", "-", "c"])]
            ),
        ],
    )


async def test_words_that_depend_on_what_is_given(stage: Stage) -> None:
    @dsl.pipeline(name="words")
    def words() -> NamedTuple("Two", one=str, two=str):
        two = NamedTuple("Two", one=str, two=str)
        return two(one=shell(a="1").output, two=shell(a="1", b="2", c="3").output)

    assert await outputs(stage, words) == {"one": "[--a=1][--no-b][no-c]", "two": "[--a=1;b=2][--b][2][--c][<3>]"}


async def test_texts_put_together_keep_every_character(stage: Stage) -> None:
    @dsl.pipeline(name="texts")
    def texts(a: str, b: list, pipelinechannel: str = "p") -> NamedTuple("Two", one=str, two=dict):
        two = NamedTuple("Two", one=str, two=dict)

        @component
        def wrap(text: str, part: dict) -> dict:
            return {"text": text, "part": part}

        wrapped = wrap(text=f"{a} and {b} and {pipelinechannel}", part={"k": a, "n": [1, 2.5]})
        return two(one=say(text=f"<{a}>").output, two=wrapped.output)

    a = "a \"quoted\" \\ text\n{{$.inputs.parameters['a']}} $(HOME)"
    found = await outputs(stage, texts, {"a": a, "b": [1, 2.5, "x"]})
    assert found["one"] == f"<{a}>"
    assert found["two"] == {"text": f'{a} and [1,2.5,"x"] and p', "part": {"k": a, "n": [1, 2.5]}}


async def test_exit_tasks_and_those_that_ignore_failures_run_with_real_inputs(stage: Stage) -> None:
    @component
    def tell(status: dsl.PipelineTaskFinalStatus, note: str) -> str:
        return f"{note}: {status.state} {status.pipeline_task_name} {bool(status.error_message)}"

    @dsl.pipeline(name="leaving")
    def leaving(note: str = "note") -> None:
        with dsl.ExitHandler(tell(note=note), name="outer"):
            well = say(text="well")
            broken = fail().after(well)
            say(text="never").after(broken)
            optional(a=broken.output, b=note, c={}).ignore_upstream_failure()

    run, tasks = await stage.run(leaving)
    assert run.state == FAILED
    assert "boom" in run.error["message"]
    values = {path: task.outputs["parameters"].get("Output") for path, task in tasks.items()}
    assert values["root/tell"] == "note: FAILED exit-handler-1 True"
    assert values["root/exit-handler-1/optional"] == "None note {}"
    assert "root/exit-handler-1/say-2" not in values


async def test_importers_inside_branches_and_loops(stage: Stage) -> None:
    lake = stage.directory / "objects" / "lake"
    lake.mkdir(parents=True)
    for name in ("a", "b"):
        (lake / name).write_text(f"content of {name}")

    @dsl.pipeline(name="importing")
    def importing(base: str = "s3://lake", on: bool = True) -> None:
        with dsl.If(on == True):  # noqa: E712  # the SDK makes a condition of it
            one = dsl.importer("s3://lake/a", Dataset, metadata={"from": base, "n": [1]})
            read(data=one.output)
        with dsl.If(on == False):  # noqa: E712
            dsl.importer(base, Dataset)
        with dsl.ParallelFor(["s3://lake/a", "s3://lake/b"]) as uri:
            each = dsl.importer(uri, Dataset, reimport=True)
            read(data=each.output)

    run, tasks = await stage.run(importing)
    assert run.error is None
    heard = sorted(
        tasks[path].outputs["parameters"]["Output"] for path in tasks if path.split("/")[-1].startswith("read")
    )
    assert heard == ["content of a", "content of a", "content of b"]
    links = await stage.artifacts.of_run(run.id)
    metadata = [
        artifact.properties for link, artifact in links if link.task_id == tasks["root/condition-1/importer"].id
    ]
    assert metadata == [{"from": "s3://lake", "n": [1]}]
    assert not [path for path in tasks if path.startswith("root/condition-2/")]


async def test_resources_come_from_parameters(stage: Stage) -> None:
    @dsl.pipeline(name="choosing")
    def choosing(cpu: str = "500m", memory: str = "1Gi", kind: str = "example.com/gpu", n: str = "2") -> str:
        task = say(text="x").set_accelerator_type(kind).set_accelerator_limit(n)
        task.set_cpu_request(cpu).set_cpu_limit("1").set_memory_limit(memory).set_memory_request("64Mi")
        return task.output

    run, _ = await stage.run(choosing, {"memory": "1500M"})
    assert run.error is None
    (pod,) = await stage.pods(run.id)
    resources = pod.spec.containers[0].resources
    assert resources.requests == {"cpu": "500m", "memory": "64Mi", "example.com/gpu": "2"}
    assert resources.limits == {"cpu": "1", "memory": "1500M", "example.com/gpu": "2"}


async def test_metrics_and_several_outputs_of_one_component(stage: Stage) -> None:
    @component
    def several(metrics: Output[Metrics], data: Output[Dataset]) -> NamedTuple("R", n=int, l=list, d=dict, b=bool):
        metrics.log_metric("accuracy", 0.5)
        with open(data.path, "w") as file:
            file.write("x")
        r = NamedTuple("R", n=int, l=list, d=dict, b=bool)
        return r(n=1, l=[1, 2], d={"a": 1.0}, b=True)

    @dsl.pipeline(name="several")
    def pipeline() -> int:
        many = several()
        flatten(rows=[[1], [2]])
        describe(value=many.outputs["d"])
        return add(a=many.outputs["n"], b=2).output

    run, tasks = await stage.run(pipeline)
    assert run.error is None
    assert tasks["root/several"].outputs["parameters"] == {"n": 1, "l": [1, 2], "d": {"a": 1}, "b": True}


async def test_a_run_takes_no_longer_than_it_may(stage: Stage) -> None:
    @component
    def sleep() -> None:
        import time  # noqa: PLC0415  # the function travels alone

        time.sleep(60)

    @dsl.pipeline(name="slow", pipeline_config=dsl.PipelineConfig(active_deadline_seconds=1))
    def slow() -> None:
        sleep()

    stage.player.behaviour = lambda pod: {"phase": "Running"}
    run, tasks = await stage.run(slow)
    assert run.state == FAILED
    assert run.error["message"] == "DeadlineExceeded: the run took longer than its activeDeadlineSeconds of 1"
    assert tasks["root/sleep"].state == "CANCELED"
