"""Values that the compiler forgets to hand on, or asks for where they are not."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from ketch.pipelines.ir.reading import SpecError, read
from ketch.pipelines.structs import plain


@dsl.component(base_image="python:3.11")
def say(text: str):
    pass


@dsl.pipeline(name="leaking")
def leaking():
    with dsl.ParallelFor(["a", "b"]) as outer, dsl.ParallelFor(["1", "2"]) as inner:
        say(text=f"{outer}{inner}")


@dsl.pipeline(name="tight")
def tight(text: str = "x"):
    with dsl.ParallelFor(["a", "b"]) as outer:
        say(text=f"{outer}{text}")


def compiled(pipeline: Any, tmp_path: Path) -> dict[str, Any]:
    target = tmp_path / "p.yaml"
    compiler.Compiler().compile(pipeline, str(target))
    return plain(yaml.safe_load(target.read_text()))


def test_items_are_handed_on_inwards_and_not_asked_for_outside(tmp_path: Path) -> None:
    document = compiled(leaking, tmp_path)
    leaked = "pipelinechannel--loop-item-param-3"
    assert leaked in document["root"]["dag"]["tasks"]["for-loop-2"]["inputs"]["parameters"]
    spec = read(document)
    assert spec.root.dag
    assert leaked not in spec.root.dag.tasks["for-loop-2"].inputs.parameters
    assert spec.components["comp-for-loop-2"].input_definitions.parameters[leaked].is_optional
    assert not spec.components["comp-for-loop-4"].input_definitions.parameters[leaked].is_optional
    outer = "pipelinechannel--loop-item-param-1"
    assert outer in spec.components["comp-for-loop-4"].input_definitions.parameters
    inner_loop = spec.components["comp-for-loop-2"].dag
    assert inner_loop
    assert inner_loop.tasks["for-loop-4"].inputs.parameters[outer].component_input_parameter == outer


@dsl.pipeline(name="limited")
def limited(memory: str = "1Gi"):
    with dsl.ParallelFor(["a", "b"]) as outer, dsl.If(outer == "a"):
        say(text="x").set_memory_limit(memory)


def test_what_resources_need_is_handed_on_from_outside(tmp_path: Path) -> None:
    spec = read(compiled(limited, tmp_path))
    assert spec.root.dag
    given = spec.root.dag.tasks["for-loop-2"].inputs.parameters
    assert given["pipelinechannel--memory"].component_input_parameter == "memory"
    for name in ("comp-for-loop-2", "comp-condition-3"):
        assert given.keys() <= spec.components[name].input_definitions.parameters.keys()


def test_what_nothing_gives_is_named(tmp_path: Path) -> None:
    document = compiled(tight, tmp_path)
    source = document["components"]["comp-for-loop-2"]["dag"]["tasks"]["say"]["inputs"]["parameters"]
    source["pipelinechannel--text"] = {"componentInputParameter": "pipelinechannel--other"}
    with pytest.raises(SpecError, match="no input parameter 'pipelinechannel--other'"):
        read(document)


def test_other_specifications_stay_as_they_are(tmp_path: Path) -> None:
    spec = read(compiled(tight, tmp_path))
    assert spec.root.dag
    assert "pipelinechannel--text" in spec.root.dag.tasks["for-loop-2"].inputs.parameters
