"""Items of inner loops that the compiler asks for outside."""

from pathlib import Path

import yaml
from kfp import compiler, dsl

from ketch.pipelines.ir.reading import read
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


def test_items_are_handed_on_inwards_and_not_asked_for_outside(tmp_path: Path) -> None:
    target = tmp_path / "p.yaml"
    compiler.Compiler().compile(leaking, str(target))
    document = plain(yaml.safe_load(target.read_text()))
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


def test_other_specifications_stay_as_they_are(tmp_path: Path) -> None:
    target = tmp_path / "p.yaml"
    compiler.Compiler().compile(tight, str(target))
    spec = read(plain(yaml.safe_load(target.read_text())))
    assert spec.root.dag
    assert "pipelinechannel--text" in spec.root.dag.tasks["for-loop-2"].inputs.parameters
