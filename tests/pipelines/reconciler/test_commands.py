# ruff: noqa: PTH103, PTH118, PTH123  # components are written as users write them
"""Command lines that cannot be started as they are, artifacts that are left elsewhere: users notice neither."""

from typing import Any

import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
Stage = Any
LONG = "ä$(HOME) $$ 'x' \"y\" \n" * 12_000  # more than Linux takes as one argument, in characters that shells read


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def repeat(times: int) -> str:
    return "ä$(HOME) $$ 'x' \"y\" \n" * times


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def measure(text: str, more: list) -> int:
    return len(text) + len(more)


@dsl.container_component
def count(text: str, short: str, length: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-ec", 'printf "%s|%s|%s" "$0" "$1" "$2" | wc -c > "$3"'],
        args=["zero", text, short, length],
    )


@dsl.container_component
def count_in_script(text: str, length: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", dsl.ConcatPlaceholder(["printf %s '", text, "' | wc -c > $0"])],
        args=[length],
    )


@dsl.container_component
def true(text: str):
    return dsl.ContainerSpec(image="alpine", command=["true"], args=[text])


async def test_inputs_longer_than_a_command_line_takes(stage: Stage) -> None:
    @dsl.pipeline(name="long")
    def long() -> int:
        text = repeat(times=12_000)
        count(text=text.output, short="s\n\n")
        return measure(text=text.output, more=list(range(40_000))).output

    run, tasks = await stage.run(long)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": len(LONG) + 40_000}
    assert tasks["root/count"].outputs["parameters"] == {"length": len(LONG.encode()) + len("zero||s\n\n")}


async def test_scripts_longer_than_a_command_line_takes(stage: Stage) -> None:
    @dsl.pipeline(name="long-script")
    def long_script(text: str) -> int:
        return count_in_script(text=text).output

    run, tasks = await stage.run(long_script, {"text": "a\n$(x)" * 60_000})
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": 360_000}


async def test_what_no_shell_can_help_is_said(stage: Stage) -> None:
    @dsl.pipeline(name="hopeless")
    def hopeless(text: str) -> None:
        true(text=text)

    run, _ = await stage.run(hopeless, {"text": "x" * 200_000})
    assert "word 2 of the command has 200000 bytes, and Linux takes 131071" in run.error["message"]


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def leave(
    kept: Output[Model],
    folder: Output[Artifact],
    foreign: Output[Dataset],
    elsewhere: Output[Dataset],
    near: Output[Dataset],
) -> str:
    import os  # noqa: PLC0415  # the function travels alone
    import tempfile  # noqa: PLC0415

    kept.custom_path = os.path.join(tempfile.mkdtemp(), "model")
    with open(kept.path, "w") as file:
        file.write("a model")
    folder.set_path(tempfile.mkdtemp())
    os.makedirs(os.path.join(folder.path, "a", "b"))
    with open(os.path.join(folder.path, "a", "b", "c"), "w") as file:
        file.write("deep")
    foreign.uri = "https://example.com/data.csv"
    elsewhere.uri = "s3://other/place"
    elsewhere.custom_path = os.path.join(tempfile.mkdtemp(), "x")
    with open(elsewhere.path, "w") as file:
        file.write("moved")
    near.custom_path = near.path + "-beside"
    with open(near.path, "w") as file:
        file.write("near")
    return kept.uri


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def find(kept: Input[Model], folder: Input[Artifact], elsewhere: Input[Dataset], near: Input[Dataset]) -> list:
    import os  # noqa: PLC0415

    parts = [kept.path, os.path.join(folder.path, "a", "b", "c"), elsewhere.path, near.path]
    return [open(part).read() for part in parts]


async def test_artifacts_that_the_component_left_elsewhere_are_kept(stage: Stage) -> None:
    @dsl.pipeline(name="leaving")
    def leaving() -> list:
        left = leave()
        names = ("kept", "folder", "elsewhere", "near")
        return find(**{name: left.outputs[name] for name in names}).output

    run, tasks = await stage.run(leaving)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": ["a model", "deep", "moved", "near"]}
    links = await stage.artifacts.of_run(run.id)
    uris = {link.key: artifact.uri for link, artifact in links if link.role == "OUTPUT"}
    assert uris["foreign"] == "https://example.com/data.csv"
    assert uris["kept"] == tasks["root/leave"].outputs["parameters"]["Output"]  # the place did not change
