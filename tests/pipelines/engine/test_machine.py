"""Events in, orders out: no database, no pods, no clock."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.pipelines.engine.language import (
    BODY,
    COLLECT,
    REGARDLESS,
    Driver,
    Tasks,
    a_loop,
    a_spec,
    after,
    condition,
    given,
    output,
    step,
)

from ketch.pipelines.engine.orders import Cancel, Succeeded
from ketch.pipelines.engine.tree import task_id
from ketch.pipelines.values import Artifact, Values


def test_tasks_start_when_all_their_upstreams_have_ended() -> None:
    run = Driver(a_spec({"a": step(), "b": step(), "c": after("a", "b"), "d": step(inputs=given(a=output("a")))}))
    assert run.begin() == ["launch a", "launch b"]
    assert run.well("a", x=7) == ["launch d"]
    assert run.row("d").inputs.parameters == {"a": 7}
    assert run.well("b") == ["launch c"]
    assert run.well("c") == []
    assert run.well("d") == ["end SUCCEEDED"]
    assert run.state("") == "SUCCEEDED"


def test_news_of_what_has_ended_change_nothing() -> None:
    run = Driver(a_spec({"a": step(), "b": after("a")}))
    run.begin()
    assert run.well("a") == ["launch b"]
    assert run.well("a") == run.badly("a") == []
    assert run.handle(Succeeded("unknown", Values())) == []


def test_an_empty_pipeline_ends_at_once() -> None:
    assert Driver(a_spec({})).begin() == ["end SUCCEEDED"]


def test_after_a_failure_nothing_new_starts_and_what_runs_may_end() -> None:
    run = Driver(a_spec({"a": step(), "b": step(), "c": after("b"), "d": after("a")}))
    run.begin()
    assert run.badly("a") == []
    assert run.well("b") == ["end FAILED"]
    assert run.error == "task a failed: boom"
    assert "root/c" not in {row.path for row in run.rows.values()}


def test_a_sub_graph_in_flight_goes_on_beside_a_failure() -> None:
    inner = {"dag": {"tasks": {"x": step(), "y": after("x")}}}
    run = Driver(a_spec({"a": step(), "g": step("inner")}, inner=inner))
    assert run.begin() == ["launch a", "launch g/x"]
    run.badly("a")
    assert run.well("g/x") == ["launch g/y"]
    assert run.well("g/y") == ["end FAILED"]
    assert run.state("g") == "SUCCEEDED"


def test_a_runs_message_names_its_first_failures_only() -> None:
    run = Driver(a_spec({f"t{n}": step(taskInfo={"name": f"step {n}"}) for n in range(7)}))
    run.begin()
    for n in range(7):
        run.badly(f"t{n}", f"e{n}")
    assert run.error.startswith("7 tasks failed: step 0 failed: e0; step 1 failed: e1;")
    assert run.error.endswith("step 4 failed: e4 (and 2 more)")


@pytest.mark.parametrize(
    ("source", "inputs", "message"),
    [
        pytest.param(output("a", "y"), {}, 'input "n" has no value: task "a" gave no output "y"', id="no such output"),
        pytest.param({"runtimeValue": {"constant": "x"}}, {}, "expect NUMBER_INTEGER, got string", id="wrong type"),
        pytest.param(None, {}, 'input "n" is not optional, yet has no value', id="not given"),
    ],
)
def test_a_task_that_cannot_get_its_inputs_fails(source: Any, inputs: Any, message: str) -> None:
    needy = {"executorLabel": "e", "inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}}}
    task = step("needy", inputs=given(**({"n": source} if source else {})), dependentTasks=["a"])
    run = Driver(a_spec({"a": step(), "b": task}, needy=needy))
    run.begin()
    assert run.well("a") == ["failed b", "end FAILED"]
    assert message in run.row("b").error


def test_pipelines_inputs_get_defaults_and_are_required() -> None:
    inputs = {
        "n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3.0, "isOptional": True},
        "s": {"parameterType": "STRING"},
        "o": {"parameterType": "LIST", "isOptional": True},
    }
    root = {"inputDefinitions": {"parameters": inputs}}
    run = Driver(a_spec({"a": step(inputs=given(a={"componentInputParameter": "n"}))}, root), {"s": "x"})
    assert run.begin() == ["launch a"]
    assert run.row("").inputs.parameters == {"s": "x", "n": 3}
    assert run.row("a").inputs.parameters == {"a": 3}
    without = Driver(a_spec({"a": step()}, root))
    assert without.begin() == ["failed root", "end FAILED"]
    assert 'parameter "s" is not optional' in without.error


def test_constants_hold_placeholders_and_parts_are_selected() -> None:
    text = {"executorLabel": "e", "inputDefinitions": {"parameters": {"t": {"parameterType": "STRING"}}}}
    inputs = given(
        c=output("a"),
        t={"runtimeValue": {"constant": "{{$.inputs.parameters['c']}} {{$.pipeline_task_name}}"}},
        p={**output("a", "d"), "parameterExpressionSelector": 'parseJson(string_value)["k"]'},
    )
    run = Driver(a_spec({"a": step(), "b": step("text", inputs=inputs)}, text=text))
    run.begin()
    run.well("a", x="{{$.pipeline_root}}", d={"k": [1.0]})
    assert run.row("b").inputs.parameters == {"c": "{{$.pipeline_root}}", "t": "{{$.pipeline_root}} b", "p": [1]}


def test_skipped_tasks_take_their_dependents_along_but_fail_nothing() -> None:
    tasks = {
        "a": step(),
        "b": step(inputs=given(v=output("a")), triggerPolicy=condition("a", 2)),
        "c": after("b"),
        "d": after("c"),
        "e": after("b", triggerPolicy=REGARDLESS),
    }
    run = Driver(a_spec(tasks))
    run.begin()
    assert run.well("a", x=1) == ["skipped b", "skipped c", "launch e", "skipped d"]
    assert run.well("e") == ["end SUCCEEDED"]


def test_the_chosen_branch_gives_the_output() -> None:
    branches = {
        "dag": {
            "tasks": {
                name: step(inputs=given(v={"componentInputParameter": "v"}), triggerPolicy=condition("", value))
                for name, value in (("one", 1), ("two", 2))
            },
            "outputs": {
                "parameters": {
                    "o": {
                        "valueFromOneof": {
                            "parameterSelectors": [
                                {"producerSubtask": name, "outputParameterKey": "x"} for name in ("one", "two")
                            ]
                        }
                    }
                }
            },
        },
        "inputDefinitions": {"parameters": {"v": {"parameterType": "NUMBER_INTEGER"}}},
    }
    tasks = {
        "a": step(),
        "g": step("branches", inputs=given(v=output("a"))),
        "z": step(inputs=given(a=output("g", "o"))),
    }
    run = Driver(a_spec(tasks, branches=branches))
    run.begin()
    assert run.well("a", x=2) == ["skipped g/one", "launch g/two"]
    assert run.well("g/two", x=9) == ["launch z"]
    assert run.row("z").inputs.parameters == {"a": 9}


def test_loops_run_up_to_their_limit_and_collect_in_order() -> None:
    tasks = {"l": a_loop({"raw": "[5, 6, 7]"}, 2), "z": step("collect", inputs=given(l=output("l", "o")))}
    run = Driver(a_spec(tasks, body=BODY, collect=COLLECT))
    assert run.begin() == ["launch l/0/w", "launch l/1/w"]
    assert run.well("l/1/w", x=60) == ["launch l/2/w"]
    assert run.well("l/2/w", x=70) == []
    assert run.well("l/0/w", x=50) == ["launch z"]
    assert run.row("z").inputs.parameters == {"l": [50, 60, 70]}
    assert run.row("l/1").inputs.parameters == {"item": 6}


def test_nested_loops_collect_lists_of_lists() -> None:
    rows = given(items={"componentInputParameter": "row"})
    outer = {
        "dag": {
            "tasks": {"l": a_loop({"inputParameter": "items"}, inputs=rows)},
            "outputs": {
                "parameters": {"o": {"valueFromParameter": {"producerSubtask": "l", "outputParameterKey": "o"}}}
            },
        },
        "inputDefinitions": {"parameters": {"row": {"parameterType": "LIST"}}},
        "outputDefinitions": {"parameters": {"o": {"parameterType": "LIST"}}},
    }
    loop = step("outer", parameterIterator={"itemInput": "row", "items": {"raw": "[[1, 2], [3]]"}})
    tasks = {"l": loop, "z": step("collect", inputs=given(l=output("l", "o")))}
    run = Driver(a_spec(tasks, outer=outer, body=BODY, collect=COLLECT))
    assert run.begin() == ["launch l/0/l/0/w", "launch l/0/l/1/w", "launch l/1/l/0/w"]
    for path, value in (("l/0/l/0/w", 1), ("l/0/l/1/w", 2), ("l/1/l/0/w", 3)):
        run.well(path, x=value)
    assert run.row("z").inputs.parameters == {"l": [[1, 2], [3]]}


@pytest.mark.parametrize("items", ["[]", ""])
def test_a_loop_over_nothing_ends_well(items: str) -> None:
    loop = a_loop({"raw": items}) if items else a_loop({"inputParameter": "n"}, inputs=given(n=output("a", "l")))
    run = Driver(a_spec({"a": step(), "l": loop, "z": step("collect", inputs=given(l=output("l", "o")))}, body=BODY,
                        collect=COLLECT))  # fmt: skip
    run.begin()
    assert "launch z" in run.well("a", l="[]") or items
    assert run.row("z").inputs.parameters == {"l": []}


def test_items_that_are_no_list_fail_the_loop() -> None:
    run = Driver(a_spec({"l": a_loop({"raw": '{"a": 1}'})}, body=BODY))
    assert run.begin() == ["failed l", "end FAILED"]
    assert "the loop's items are not a list" in run.error


def test_a_failed_iteration_starts_no_further_ones() -> None:
    run = Driver(a_spec({"l": a_loop({"raw": "[1, 2, 3, 4]"}, 2)}, body=BODY))
    run.begin()
    assert run.badly("l/0/w") == []
    assert run.well("l/1/w") == ["end FAILED"]
    assert run.error == "task w failed: boom"


def test_exit_tasks_run_in_all_cases_and_hear_of_it() -> None:
    exit_input = {
        "executorLabel": "e",
        "inputDefinitions": {"parameters": {"s": {"parameterType": "TASK_FINAL_STATUS"}}},
    }
    tasks = {
        "body": step("inner"),
        "exit": step(
            "exit",
            dependentTasks=["body"],
            triggerPolicy=REGARDLESS,
            inputs=given(s={"taskFinalStatus": {"producerTask": "body"}}),
        ),
        "more": after("body"),
    }
    run = Driver(a_spec(tasks, inner={"dag": {"tasks": {"x": step()}}}, exit=exit_input))
    run.begin()
    assert run.badly("body/x") == ["launch exit"]
    status = run.row("exit").inputs.parameters["s"]
    assert (status["state"], status["pipelineTaskName"]) == ("FAILED", "body")
    assert status["error"]["message"] == "task x failed: boom"
    assert run.well("exit") == ["end FAILED"]


def test_downstream_of_an_ignored_failure_goes_on() -> None:
    tasks = {
        "a": step(),
        "b": step(inputs=given(a=output("a")), triggerPolicy=REGARDLESS),
        "c": after("b"),
        "d": after("a"),
    }
    run = Driver(a_spec(tasks))
    run.begin()
    assert run.badly("a") == ["launch b"]
    assert run.row("b").inputs.parameters == {}
    assert run.well("b") == ["launch c"]
    assert run.well("c") == ["end FAILED"]


def test_importers_need_no_pod() -> None:
    run = Driver(a_spec({"i": step("import", inputs=given(uri={"runtimeValue": {"constant": "s3://b/k"}}))}))
    assert run.begin() == ["import s3://b/k {'n': 1}"]
    artifact = Artifact(id="1", name="artifact", type="system.Artifact", uri="s3://b/k")
    assert run.handle(Succeeded(task_id("r", "root/i"), Values({}, {"artifact": (artifact,)}))) == ["end SUCCEEDED"]


def test_termination_stops_what_runs_and_ends_the_run_failed() -> None:
    run = Driver(a_spec({"a": step(), "b": after("a"), "l": a_loop({"raw": "[1]"})}, body=BODY))
    run.begin()
    assert run.handle(Cancel()) == ["stop a", "stop l/0/w", "end FAILED"]
    assert run.error == "the run was terminated"
    assert {run.state(path) for path in ("a", "l", "l/0", "l/0/w", "")} == {"CANCELED"}
    assert run.well("a") == []


WHOLE: Tasks = {
    "a": step(),
    "b": step(inputs=given(v=output("a")), triggerPolicy=condition("a", 2)),
    "c": after("b"),
    "l": a_loop({"raw": "[1, 2, 3]"}, 2, dependentTasks=["a"]),
    "z": step("collect", inputs=given(l=output("l", "o"))),
    "r": after("l", triggerPolicy=REGARDLESS),
}
STORY: Sequence[tuple[str, bool]] = [
    ("a", True), ("l/0/w", True), ("l/2/w", True), ("l/1/w", True), ("z", False), ("r", True)
]  # fmt: skip


@pytest.mark.parametrize("survived", range(len(STORY)))
def test_a_machine_rebuilt_from_rows_goes_on_as_if_nothing_had_been(survived: int) -> None:
    whole, torn = Driver(a_spec(WHOLE, body=BODY, collect=COLLECT)), Driver(a_spec(WHOLE, body=BODY, collect=COLLECT))
    for run in (whole, torn):
        run.begin()
    for number, (path, well) in enumerate(STORY):
        if number == survived:
            torn.restart()
            waiting = {torn.path(identity) for identity in torn.machine.in_flight}
            assert set(torn.begin()) == {f"launch {path}" for path in waiting}
        said = [(run.well(path) if well else run.badly(path)) for run in (whole, torn)]
        assert said[0] == said[1]
    assert whole.rows == torn.rows
    assert (whole.run, whole.error) == (torn.run, torn.error) == ("FAILED", "task z failed: boom")


def test_ten_thousand_iterations_cost_ten_thousand_orders() -> None:
    """Linear: the whole story of a wide loop is in proportion to its width (and takes a second, not minutes)."""
    width = 10_000
    run = Driver(a_spec({"l": a_loop({"raw": str(list(range(width)))})}, body=BODY))
    assert len(run.begin()) == width
    for index in range(width):
        run.well(f"l/{index}/w", x=index)
    assert run.run == "SUCCEEDED"
    assert run.row("l").outputs.parameters["o"] == list(range(width))
