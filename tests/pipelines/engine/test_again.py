"""Trying again: by a policy, or by the user's word."""

from tests.pipelines.engine.language import (
    BODY,
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


def test_retries_back_off_and_end() -> None:
    policy = {"maxRetryCount": 3, "backoffDuration": "10s", "backoffFactor": 2.0, "backoffMaxDuration": "40s"}
    run = Driver(a_spec({"a": step(retryPolicy=policy)}))
    run.begin()
    assert [run.badly("a") for _ in range(4)] == [
        ["launch a again after 10 s"],
        ["launch a again after 20 s"],
        ["launch a again after 40 s"],
        ["end FAILED"],
    ]


def test_retries_end_with_the_time_for_them() -> None:
    policy = {"maxRetryCount": 9, "backoffDuration": "10s", "backoffFactor": 2.0, "backoffMaxDuration": "60s"}
    run = Driver(a_spec({"a": step(retryPolicy=policy)}))
    run.begin()
    assert run.badly("a", elapsed=5) == ["launch a again after 10 s"]
    assert run.badly("a", elapsed=40) == ["launch a again after 20 s"]
    assert run.badly("a", elapsed=41) == ["end FAILED"]  # another 40 s would be too many


def test_a_retry_keeps_what_went_well() -> None:
    tasks: Tasks = {
        "a": step(),
        "l": a_loop({"raw": "[1, 2]"}),
        "c": after("l"),
        "s": step(inputs=given(v=output("a")), triggerPolicy=condition("a", 2)),
    }
    run = Driver(a_spec(tasks, body=BODY))
    run.begin()
    run.well("a", x=1)
    run.well("l/0/w")
    assert run.badly("l/1/w") == ["end FAILED"]
    assert run.retry() == ["launch l/1/w"]
    assert run.state("s") == "SKIPPED"
    assert run.row("l/1/w").attempt == 1
    assert run.well("l/1/w") == ["launch c"]
    assert run.well("c") == ["end SUCCEEDED"]


STATUS = {
    "executorLabel": "e",
    "inputDefinitions": {"parameters": {"status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}}},
}
INNER = {
    "dag": {
        "tasks": {"a": step(), "b": step(), "c": after("a", "b")},
        "outputs": {"parameters": {"o": {"valueFromParameter": {"producerSubtask": "c", "outputParameterKey": "x"}}}},
    },
    "outputDefinitions": {"parameters": {"o": {"parameterType": "NUMBER_INTEGER"}}},
}
EXIT = {
    "body": step("inner"),
    "exit": after(
        "body", componentRef={"name": "status"}, triggerPolicy=REGARDLESS,
        inputs=given(status={"taskFinalStatus": {"producerTask": "body"}}),
    ),
}  # fmt: skip


def test_an_exit_task_is_told_of_the_new_end_after_a_retry() -> None:
    run = Driver(a_spec(EXIT, inner=INNER, status=STATUS))
    run.begin()
    run.well("body/a")
    assert run.badly("body/b") == ["launch exit"]
    before = run.row("exit")
    assert before.inputs.parameters["status"]["state"] == "FAILED"
    assert run.well("exit") == ["end FAILED"]
    assert run.retry() == ["launch body/b"]  # the exit task ran well, but waits for the body again
    run.restart()
    assert run.begin() == ["launch body/b"]
    assert run.well("body/b") == ["launch body/c"]
    assert run.well("body/c") == ["launch exit"]
    assert run.row("exit").inputs.parameters["status"]["state"] == "SUCCEEDED"
    assert run.row("exit").id != before.id  # nothing of the first one can be taken for the second
    assert run.well("exit") == ["end SUCCEEDED"]


def test_an_exit_task_that_failed_waits_for_the_body_too() -> None:
    run = Driver(a_spec(EXIT, inner=INNER, status=STATUS))
    run.begin()
    run.badly("body/a")
    run.well("body/b")
    assert run.badly("exit") == ["end FAILED"]
    assert run.retry() == ["launch body/a"]
    assert run.well("body/a") == ["launch body/c"]


def test_the_exit_task_of_a_body_that_never_began_is_told_so() -> None:
    tasks: Tasks = {"first": step(), **EXIT, "body": after("first", componentRef={"name": "inner"})}
    run = Driver(a_spec(tasks, inner=INNER, status=STATUS))
    run.begin()
    assert run.badly("first") == ["launch exit"]
    status = run.row("exit").inputs.parameters["status"]
    assert (status["state"], status["pipelineTaskName"]) == ("SKIPPED", "body")
    assert run.well("exit") == ["end FAILED"]


POLICY = {"maxRetryCount": 2, "backoffDuration": "10s", "backoffFactor": 3.0}


def test_a_pipeline_within_a_pipeline_is_tried_again() -> None:
    run = Driver(a_spec({"g": step("inner", retryPolicy=POLICY), "z": after("g")}, inner=INNER))
    assert run.begin() == ["launch g/a", "launch g/b"]
    run.badly("g/a")
    assert run.well("g/b") == ["launch g/a again after 10 s"]
    assert run.state("g") == "RUNNING"
    run.restart()
    assert run.begin() == ["launch g/a"]
    assert run.badly("g/a") == ["launch g/a again after 30 s"]
    run.restart()
    run.begin()
    assert run.well("g/a") == ["launch g/c"]
    assert run.badly("g/c") == ["end FAILED"]  # the third attempt was the last
    assert run.error == "task c failed: boom"


def test_a_retried_pipeline_decides_anew_what_was_left_out() -> None:
    guarded = step(inputs=given(v=output("a")), triggerPolicy=condition("a", 2))
    inner = {"dag": {"tasks": {"a": step(), "b": step(), "s": guarded, "c": after("s", "b"), "x": EXIT["exit"] | {
        "dependentTasks": ["b"], "inputs": given(status={"taskFinalStatus": {"producerTask": "b"}})}}}}  # fmt: skip
    run = Driver(a_spec({"g": step("inner", retryPolicy=POLICY)}, inner=inner, status=STATUS))
    run.begin()
    assert run.well("g/a", x=1) == ["skipped g/s"]
    assert run.badly("g/b") == ["launch g/x"]
    assert run.well("g/x") == ["launch g/b again after 10 s"]
    assert run.well("g/b") == ["skipped g/c", "launch g/x"]
    assert run.row("g/x").inputs.parameters["status"]["state"] == "SUCCEEDED"
    assert run.well("g/x") == ["end SUCCEEDED"]


def test_a_loops_iterations_are_tried_again_each_by_itself() -> None:
    nested = {"dag": {"tasks": {"g": step("inner", retryPolicy=POLICY)}}, "inputDefinitions": BODY["inputDefinitions"]}
    run = Driver(a_spec({"l": a_loop({"raw": "[1, 2]"})}, body=nested, inner=INNER))
    assert len(run.begin()) == 4
    run.badly("l/0/g/a")
    assert run.well("l/0/g/b") == ["launch l/0/g/a again after 10 s"]
    run.well("l/1/g/a")
    assert run.well("l/1/g/b") == ["launch l/1/g/c"]
    assert run.well("l/1/g/c") == []
    assert run.well("l/0/g/a") == ["launch l/0/g/c"]
    assert run.well("l/0/g/c") == ["end SUCCEEDED"]


def test_what_ran_because_of_a_branch_not_taken_is_not_run_again() -> None:
    tasks: Tasks = {
        "a": step(),
        "s": step(inputs=given(v=output("a")), triggerPolicy=condition("a", 2)),
        "r": after("s", triggerPolicy=REGARDLESS),
        "f": after("a"),
        "z": after("f", "s"),
    }
    run = Driver(a_spec(tasks))
    run.begin()
    assert run.well("a", x=1) == ["skipped s", "launch f", "launch r"]
    run.well("r")
    assert run.badly("f") == ["end FAILED"]
    assert run.retry() == ["launch f"]
    run.restart()
    assert run.begin() == ["launch f"]
    assert run.well("f") == ["skipped z", "end SUCCEEDED"]
