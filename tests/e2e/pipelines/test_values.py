"""Values and artifacts of every type that the SDK knows, through real steps."""

import json
import urllib.request
from typing import Any, NamedTuple, Optional

import kfp
import pytest
from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Output
from tests.e2e.platforms import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]
WAIT = 120


@dsl.component(base_image="python:3.11")
def give(
    number: int,
    note: Optional[str] = None,  # noqa: UP045  # the SDK reads no other form
    table: dict = {"a": 1},  # noqa: B006  # a component's default
    flag: bool = False,
) -> NamedTuple(
    "Given", [("number", int), ("table", dict), ("items", list), ("text", str), ("yes", bool), ("x", float)]
):
    from collections import namedtuple  # noqa: PLC0415

    assert (note, table, flag) == (None, {"a": 1}, False), (note, table, flag)
    given = namedtuple("Given", ["number", "table", "items", "text", "yes", "x"])  # noqa: PYI024
    text = "quotes \" ' $HOME $(x) {{y}} {{$.z}} \n snow ☃"
    return given(number, {"deep": {"er": [1, None, "ü"]}}, [1, 2.5, "x"], text, True, 2.0)


@dsl.component(base_image="python:3.11")
def take(number: int, table: dict, items: list, text: str, yes: bool, x: float):
    assert (number, table, items) == (3, {"deep": {"er": [1, None, "ü"]}}, [1, 2.5, "x"]), (number, table, items)
    assert text == "quotes \" ' $HOME $(x) {{y}} {{$.z}} \n snow ☃", text
    assert yes is True
    assert x == 2.0


@dsl.component(base_image="python:3.11")
def report(
    page: Output[HTML],
    notes: Output[Markdown],
    classes: Output[ClassificationMetrics],
    scores: Output[Metrics],
    parts: Output[Dataset],
):
    import os  # noqa: PLC0415

    for artifact in (page, notes):
        with open(artifact.path, "w") as file:  # noqa: PTH123  # the function travels alone
            file.write("hello")
    classes.log_confusion_matrix(["a", "b"], [[1, 2], [3, 4]])
    scores.log_metric("accuracy", 0.5)
    os.makedirs(parts.path)  # noqa: PTH103
    for name in ("one", "two"):
        with open(os.path.join(parts.path, name), "w") as file:  # noqa: PTH118, PTH123
            file.write(name)


@dsl.component(base_image="python:3.11")
def look(parts: Input[Dataset], scores: Input[Metrics]) -> list[str]:
    import os  # noqa: PLC0415

    assert scores.metadata["accuracy"] == 0.5, scores.metadata
    return sorted(os.listdir(parts.path))  # noqa: PTH208


@dsl.component(base_image="python:3.11")
def part(number: int, written: Output[Dataset]):
    with open(written.path, "w") as file:  # noqa: PTH123
        file.write(str(number))


@dsl.component(base_image="python:3.11")
def join(parts: Input[list[Dataset]]) -> int:
    return sum(int(open(each.path).read()) for each in parts)  # noqa: PTH123


@dsl.component(base_image="python:3.11")
def colour() -> str:
    import os  # noqa: PLC0415

    return os.environ["COLOUR"]


@dsl.container_component
def optional(text: str, said: dsl.OutputPath(str), more: Optional[str] = None):  # noqa: UP045
    script = 'mkdir -p "$(dirname "$1")"; out=$1; shift; printf "%s %s" "$0" "$*" > "$out"'
    given = dsl.IfPresentPlaceholder("more", ["--more", more], ["none"])
    words = [dsl.ConcatPlaceholder(["x-", text]), said, given]
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", script], args=words)


@dsl.pipeline(name="Values of all types")
def values(number: int = 3) -> list:
    given = give(number=number)
    take(**{name: given.outputs[name] for name in ("number", "table", "items", "text", "yes", "x")})
    made = report()
    looked = look(parts=made.outputs["parts"], scores=made.outputs["scores"])
    with dsl.ParallelFor([4, 5]) as item:
        written = part(number=item)
    join(parts=dsl.Collected(written.outputs["written"]))
    colour().set_env_variable("COLOUR", "blue").set_memory_limit("256Mi").set_cpu_limit("1")
    optional(text="a").set_display_name("without")
    optional(text="a", more="b").set_display_name("with")
    return looked.output


def test_values_and_artifacts_of_every_type_arrive_as_they_were(platform: Platform, kfp_client: kfp.Client):
    run_id = kfp_client.create_run_from_pipeline_func(values, arguments={}, enable_caching=False).run_id
    run = kfp_client.wait_for_run_completion(run_id, timeout=WAIT, sleep_duration=1)
    assert run.state == "SUCCEEDED", [task.error for task in run.run_details.task_details if task.error]
    with urllib.request.urlopen(f"{platform.address}/apis/v2beta1/runs/{run_id}/tasks?page_size=100") as answer:
        tasks: dict[str, Any] = {
            task["display_name"]: task["outputs"] for task in json.load(answer)["tasks"] if "outputs" in task
        }
    outputs = {name: [each["value"] for each in item.get("parameters", [])] for name, item in tasks.items()}
    assert outputs["root"] == [["one", "two"]]
    assert outputs["join"] == [9]
    assert outputs["colour"] == ["blue"]
    assert (outputs["without"], outputs["with"]) == (["x-a none"], ["x-a --more b"])
    types = {each["artifact_key"]: each["artifacts"][0]["type"] for each in tasks["report"]["artifacts"]}
    assert types == {
        "page": "HTML",
        "notes": "Markdown",
        "classes": "ClassificationMetric",
        "scores": "Metric",
        "parts": "Dataset",
    }
