# ruff: noqa: PTH123, UP045  # components are written as users write them
"""Whole runs that go well, and what they leave behind."""

from typing import Any, Optional

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from ketch.pipelines.records.states import SUCCEEDED

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
Stage = Any


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def make(rows: int, data: Output[Dataset]) -> int:
    with open(data.path, "w") as file:
        file.write("x\n" * rows)
    data.metadata["rows"] = rows
    return rows


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def train(data: Input[Dataset], factor: float, model: Output[Model], metrics: Output[Metrics]) -> float:
    with open(data.path) as file:
        lines = len(file.read().split())
    with open(model.path, "w") as file:
        file.write(f"{data.metadata['rows']} {lines}")
    metrics.log_metric("lines", lines)
    return lines * factor


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def choose(one: float, two: float, first: Input[Model], note: str = "none") -> str:
    with open(first.path) as file:
        return f"{file.read()} {max(one, two)} {note}"


@dsl.pipeline(name="compare")
def compare(rows: int = 3) -> str:
    data = make(rows=rows)
    one = train(data=data.outputs["data"], factor=1.5)
    two = train(data=data.outputs["data"], factor=2.0)
    return choose(
        one=one.outputs["Output"],
        two=two.outputs["Output"],
        first=one.outputs["model"],
        note=f'of {rows} "rows" and {data.outputs["Output"]}',
    ).output


async def test_a_run_carries_parameters_and_artifacts_to_its_output(stage: Stage) -> None:
    run, tasks = await stage.run(compare, {"rows": 4})
    assert run.error is None
    assert run.state == SUCCEEDED
    assert [entry["state"] for entry in run.state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert tasks["root"].outputs["parameters"] == {"Output": '4 4 8 of 4 "rows" and 4'}
    assert {task.state for task in tasks.values()} == {SUCCEEDED}
    assert [entry["state"] for entry in tasks["root/train"].state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]
    links = await stage.artifacts.of_run(run.id)
    roles = {(link.role, link.key, artifact.type) for link, artifact in links if link.task_id == tasks["root/train"].id}
    assert roles == {
        ("INPUT", "data", "system.Dataset"),
        ("OUTPUT", "model", "system.Model"),
        ("OUTPUT", "metrics", "system.Metrics"),
    }
    metrics = next(artifact for link, artifact in links if artifact.type == "system.Metrics")
    assert metrics.properties == {"lines": 4}


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def double(number: int) -> int:
    return 2 * number


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def total(numbers: list[int], more: list[int] = []) -> int:  # noqa: B006  # a component's default
    return sum(numbers) + sum(more)


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def join(parts: Input[list[Dataset]]) -> str:
    return " ".join(open(part.path).read().strip() for part in parts)


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def report(status: dsl.PipelineTaskFinalStatus) -> str:
    return f"{status.state}: {status.pipeline_task_name}: {status.error_message}"


@dsl.container_component
def shout(text: str, said: dsl.OutputPath(str), times: int = 1):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'i=0; while [ $i -lt "$2" ]; do printf %s "$0"; i=$((i+1)); done > "$1"'],
        args=[text, said, times],
    )


@dsl.pipeline(name="doubling")
def doubling(number: int) -> int:
    return double(number=double(number=number).output).output


async def test_graphs_in_graphs_loops_branches_and_exits(stage: Stage) -> None:
    @dsl.pipeline(name="whole")
    def whole(numbers: list[int] = [1, 2, 3], limit: int = 10) -> int:  # noqa: B006
        with dsl.ExitHandler(report()):
            with dsl.ParallelFor(numbers, parallelism=2) as number:
                made = make(rows=number)
                four = doubling(number=number)
            summed = total(numbers=dsl.Collected(four.output))
            join(parts=dsl.Collected(made.outputs["data"]))
            with dsl.If(summed.output > limit):
                large = double(number=summed.output)
            with dsl.Else():
                small = double(number=1)
            double(number=dsl.OneOf(large.output, small.output))
        return double(number=limit).output

    run, tasks = await stage.run(whole)
    assert run.error is None
    outputs = {path: task.outputs["parameters"].get("Output") for path, task in tasks.items()}
    body = "root/exit-handler-1"
    assert outputs[f"{body}/total"] == 24
    assert outputs[f"{body}/join"] == "x x\nx x\nx\nx"
    assert tasks[f"{body}/condition-branches-3/condition-5"].state == "SKIPPED"
    assert outputs[f"{body}/double-3"] == 96
    assert outputs["root/report"] == "SUCCEEDED: exit-handler-1: None"
    assert outputs["root"] == 20
    assert tasks[f"{body}/for-loop-2"].iteration_count == 3


async def test_shell_components_write_plain_files(stage: Stage) -> None:
    @dsl.pipeline(name="shell")
    def shell() -> str:
        return shout(text='$(KFP_RUN_ID) $$ "q"', times=2).output

    run, tasks = await stage.run(shell)
    assert run.error is None
    assert tasks["root"].outputs["parameters"]["Output"] == '$(KFP_RUN_ID) $$ "q"' * 2


async def test_imported_artifacts_are_read_where_they_are(stage: Stage) -> None:
    there = stage.directory / "objects" / "lake" / "raw.csv"
    there.parent.mkdir(parents=True)
    there.write_text("x x x")

    @dsl.pipeline(name="importing")
    def importing() -> float:
        raw = dsl.importer(artifact_uri="s3://lake/raw.csv", artifact_class=Dataset, metadata={"rows": 3})
        return train(data=raw.output, factor=1.0).outputs["Output"]

    run, tasks = await stage.run(importing)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": 3}
    assert tasks["root/importer"].started_at
    again, more = await stage.run(importing)
    assert more["root/train"].state == "CACHED"
    assert tasks["root/importer"].outputs == more["root/importer"].outputs  # known under its address: the same artifact
    assert again.state == SUCCEEDED


@dsl.pipeline(name="cached")
def cached(rows: int = 2) -> float:
    return train(data=make(rows=rows).outputs["data"], factor=1.0).outputs["Output"]


async def test_what_ran_before_is_not_run_again(stage: Stage) -> None:
    first, before = await stage.run(cached)
    second, after = await stage.run(cached)
    assert len(stage.player.played) == 2
    assert (after["root/train"].state, second.state) == ("CACHED", SUCCEEDED)
    assert after["root/train"].cached_from == before["root/train"].id
    assert after["root/train"].outputs == before["root/train"].outputs
    assert after["root"].outputs["parameters"] == {"Output": 2}
    assert not after["root/train"].pod_name
    assert before["root/train"].started_at
    assert after["root/train"].started_at is None  # what has no start did not run
    links = {(link.role, link.artifact_id) for link, _ in await stage.artifacts.of_run(second.id)}
    assert links == {(link.role, link.artifact_id) for link, _ in await stage.artifacts.of_run(first.id)}


async def test_other_inputs_missing_data_and_the_users_wish_run_again(stage: Stage) -> None:
    await stage.run(cached)
    await stage.run(cached, {"rows": 3})
    assert len(stage.player.played) == 4
    for file in (stage.directory / "objects").glob("**/make/*/data"):
        file.unlink()
    _, tasks = await stage.run(cached)
    assert {task.state for task in tasks.values()} == {SUCCEEDED}
    assert len(stage.player.played) == 6

    @dsl.pipeline(name="cached")
    def uncached() -> None:
        make(rows=2).set_caching_options(enable_caching=False)

    await stage.run(uncached)
    assert len(stage.player.played) == 7


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def pythonic() -> Dataset:
    made = Dataset(uri=dsl.get_uri("elsewhere"))
    with open(made.path, "w") as file:
        file.write("some data")
    made.metadata["length"] = 9
    return made


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def tell(
    job: str, resource: str, task: str, data: Dataset, given: str = "default", absent: Optional[str] = None
) -> dict:
    import os  # noqa: PLC0415  # the function travels alone

    with open(data.path) as file:
        read = file.read()
    names = [job, resource, task, os.environ["MINE"], os.environ["KFP_RUN_ID"]]
    return {"names": names, "data": [read, data.metadata["length"], data.uri], "optional": [given, absent]}


async def test_names_environment_and_artifacts_made_by_hand(stage: Stage) -> None:
    @dsl.pipeline(name="telling")
    def telling(unset: Optional[str] = None) -> dict:
        told = tell(
            job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            resource=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
            task=f"task {dsl.PIPELINE_TASK_NAME_PLACEHOLDER}",
            data=pythonic().output,
            absent=unset,
        )
        return told.set_env_variable("MINE", "a value").output

    run, tasks = await stage.run(telling)
    assert run.error is None
    told = tasks["root"].outputs["parameters"]["Output"]
    assert told["names"] == ["a run", "telling-x1", "task tell", "a value", run.id]
    assert told["data"][:2] == ["some data", 9]
    assert told["data"][2].endswith(f"/telling/{run.id}/pythonic/{tasks['root/pythonic'].id}/elsewhere")
    assert told["optional"] == ["default", None]
