"""What tasks get: importers, settings that name values, loops over artifacts and over parts of items."""

from typing import Any

import pytest
from msgspec import UNSET
from tests.pipelines.engine.language import BODY, Driver, a_loop, a_spec, given, output, step

from ketch.pipelines.engine.orders import Succeeded
from ketch.pipelines.ir.spec import ParameterInput, RuntimeValue, TaskOutputParameter
from ketch.pipelines.values import Artifact, Values

TEXT = {"parameterType": "STRING", "isOptional": True}
WITH_TEXT = {"executorLabel": "e", "inputDefinitions": {"parameters": {"t": TEXT, "pipelinechannel--c-name": TEXT}}}


def artifact(name: str, **metadata: Any) -> Artifact:
    return Artifact(id=name, name=name, type="system.Dataset", uri=f"s3://b/{name}", metadata=metadata)


def named(producer: str, key: str = "x") -> ParameterInput:
    return ParameterInput(task_output_parameter=TaskOutputParameter(producer_task=producer, output_parameter_key=key))


def test_a_setting_names_a_siblings_output_a_constant_or_an_input() -> None:
    root = {"inputDefinitions": {"parameters": {"p": TEXT, "q": TEXT}}}
    tasks = {"a": step(), "b": step("text", inputs=given(t=output("a")))}
    run = Driver(a_spec(tasks, root, text=WITH_TEXT), {"p": "given"})
    run.begin()
    run.well("a", x="out")
    node = run.machine.node(run.identity("b"))
    constant = ParameterInput(
        runtime_value=RuntimeValue(constant="{{$.pipeline_task_name}} {{$.inputs.parameters['t']}}")
    )
    assert run.machine.value(node, named("a")) == "out"
    assert run.machine.value(node, constant) == "b out"
    assert run.machine.value(node, ParameterInput(component_input_parameter="p")) == "given"
    assert run.machine.value(node, ParameterInput(component_input_parameter="q")) is UNSET


def test_a_setting_inside_a_loop_names_what_was_passed_down() -> None:
    """The compiler writes the producer's name as it is outside."""
    inside = {"parameters": {"item": {"parameterType": "NUMBER_INTEGER"}, "pipelinechannel--c-name": TEXT}}
    passed = given(**{"pipelinechannel--c-name": {"componentInputParameter": "pipelinechannel--c-name"}})
    body = {"dag": {"tasks": {"w": step("text", inputs=passed)}}, "inputDefinitions": inside}
    loop = a_loop({"raw": "[1]"}, inputs=given(**{"pipelinechannel--c-name": output("c", "name")}))
    run = Driver(a_spec({"c": step(), "l": loop}, body=body, text=WITH_TEXT))
    run.begin()
    assert run.well("c", name="claim") == ["launch l/0/w"]
    assert run.machine.value(run.machine.node(run.identity("l/0/w")), named("c", "name")) == "claim"


def test_loops_over_artifacts_see_one_each_and_give_all() -> None:
    kinds = {"artifacts": {"item": {}, "many": {"isArtifactList": True}}}
    body = {
        "dag": {
            "tasks": {"w": step("reader", inputs={"artifacts": {"item": {"componentInputArtifact": "item"}}})},
            "outputs": {
                "artifacts": {"o": {"artifactSelectors": [{"producerSubtask": "w", "outputArtifactKey": "d"}]}}
            },
        },
        "inputDefinitions": kinds,
        "outputDefinitions": {"artifacts": {"o": {"isArtifactList": True}}},
    }
    reader = {"executorLabel": "e", "inputDefinitions": {"artifacts": {"item": {}}}}
    source = {"taskOutputArtifact": {"producerTask": "a", "outputArtifactKey": "many"}}
    tasks = {
        "a": step(),
        "l": step(
            "body",
            inputs={"artifacts": {"many": source}},
            artifactIterator={"itemInput": "item", "items": {"inputArtifact": "many"}},
            iteratorPolicy={"parallelismLimit": 1},
        ),
        "z": step(
            "reader",
            inputs={"artifacts": {"item": {"taskOutputArtifact": {"producerTask": "l", "outputArtifactKey": "o"}}}},
        ),
    }
    run = Driver(a_spec(tasks, body=body, reader=reader))
    run.begin()
    several = (artifact("1"), artifact("2"))
    assert run.handle(Succeeded(run.identity("a"), Values({}, {"many": several}))) == ["launch l/0/w"]
    for number, each in enumerate(several):
        assert run.row(f"l/{number}/w").inputs.artifacts == {"item": (each,)}
        made = Values({}, {"d": (artifact(f"d{number}"),)})
        run.restart()
        run.begin()
        run.handle(Succeeded(run.identity(f"l/{number}/w"), made))
    assert [each.id for each in run.row("z").inputs.artifacts["item"]] == ["d0", "d1"]


def test_parts_of_items_that_are_only_declared_are_there() -> None:
    parameters = {"item": {"parameterType": "STRUCT"}, "item-subvar-b": {"parameterType": "NUMBER_INTEGER"}}
    task = step("text", inputs=given(t={"componentInputParameter": "item-subvar-b"}))
    body = {"dag": {"tasks": {"w": task}}, "inputDefinitions": {"parameters": parameters}}
    body["inputDefinitions"]["parameters"]["item-subvar-b"]["isOptional"] = True
    run = Driver(a_spec({"l": a_loop({"raw": '[{"b": "x"}, {"b": 2}]'})}, body=body, text=WITH_TEXT))
    run.begin()
    assert [run.row(f"l/{index}/w").inputs.parameters for index in (0, 1)] == [{"t": "x"}, {"t": "2"}]


def test_a_condition_may_look_at_artifacts() -> None:
    reader = {"executorLabel": "e", "inputDefinitions": {"artifacts": {"m": {}}}}
    source = {"taskOutputArtifact": {"producerTask": "a", "outputArtifactKey": "m"}}
    guarded = [
        step("reader", inputs={"artifacts": {"m": source}}, triggerPolicy={"condition": condition})
        for condition in (f"inputs.artifacts['m'].artifacts[0].metadata['n'] {symbol} 1" for symbol in ("==", "!="))
    ]
    run = Driver(a_spec({"a": step(), "b": guarded[0], "c": guarded[1]}, reader=reader))
    run.begin()
    event = Succeeded(run.identity("a"), Values({}, {"m": (artifact("m", n=1),)}))
    assert run.handle(event) == ["launch b", "skipped c"]


@pytest.mark.parametrize(
    ("importer", "uri", "metadata"),
    [
        pytest.param(
            {"artifactUri": {"constant": "s3://b/{{$.inputs.parameters['n']}}"}}, "s3://b/7", {}, id="constant"
        ),
        pytest.param({"artifactUri": {"runtimeParameter": "uri"}}, "s3://default", {}, id="an input's default"),
        pytest.param(
            {
                "artifactUri": {"constant": "s3://b/k"},
                "metadata": {"{{$.inputs.parameters['n']}}": ["{{$.inputs.parameters['n']}}", 2.0]},
                "customProperties": {"older": {"constant": {"stringValue": "v"}}},
            },
            "s3://b/k",
            {"older": "v", "7": ["7", 2]},
            id="metadata",
        ),
    ],
)
def test_importers(importer: Any, uri: str, metadata: Any) -> None:
    declared = {"n": {"parameterType": "NUMBER_INTEGER"}, "uri": {**TEXT, "defaultValue": "s3://default"}}
    component = {"executorLabel": "own", "inputDefinitions": {"parameters": declared}}
    task = step("own", inputs=given(n={"runtimeValue": {"constant": 7.0}}))
    run = Driver(a_spec({"i": task}, executors={"own": {"importer": importer}}, own=component))
    assert run.begin() == [f"import {uri} {metadata}"]


def test_an_importer_into_the_workspace_is_a_step() -> None:
    importer = {"artifactUri": {"constant": "s3://b/k"}, "downloadToWorkspace": True}
    policy = {"maxRetryCount": 1}
    tasks = {"i": step("own", retryPolicy=policy)}
    run = Driver(a_spec(tasks, executors={"own": {"importer": importer}}, own={"executorLabel": "own"}))
    assert run.begin() == ["launch i"]
    assert run.machine.imported(run.machine.node(run.identity("i"))).uri == "s3://b/k"
    assert run.badly("i") == ["launch i again after 0 s"]
    assert run.well("i") == ["end SUCCEEDED"]


def test_what_needs_no_pod_is_ordered_without_one() -> None:
    component = {"executorLabel": "own", "outputDefinitions": {"parameters": {"name": {"parameterType": "STRING"}}}}
    executors = {"own": {"container": {"image": "argostub/createpvc"}}}
    run = Driver(a_spec({"c": step("own"), "l": a_loop({"raw": "[]"})}, executors=executors, own=component, body=BODY))
    assert run.begin() == ["do c"]
    run.restart()
    assert run.begin() == ["do c"]
    assert run.well("c", name="x") == ["end SUCCEEDED"]


def test_null_given_to_a_pipeline_is_nothing_given() -> None:
    with_default = {"parameterType": "STRING", "isOptional": True, "defaultValue": "usual"}
    root = {"inputDefinitions": {"parameters": {"p": with_default, "q": TEXT}}}
    passed = given(t={"componentInputParameter": "p"}, **{"pipelinechannel--c-name": {"componentInputParameter": "q"}})
    run = Driver(a_spec({"a": step("text", inputs=passed)}, root, text=WITH_TEXT), {"p": None, "q": None})
    run.begin()
    assert run.machine.node(run.identity("a")).inputs == Values({"t": "usual"})
