"""Exit handlers, the final status that they get, and tasks that run although what is before them failed."""

from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus
from tests.e2e.pipelines.conformance.cases import FAILED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import add, fail, light, say

family = Family("exits")


@light
def report(status: PipelineTaskFinalStatus, note: str = "none") -> dict:
    return {
        "state": status.state,
        "task": status.pipeline_task_name,
        "run": bool(status.pipeline_job_resource_name),
        "code": status.error_code,
        "message": status.error_message or "",
        "note": note,
    }


GOOD = {"state": "SUCCEEDED", "task": "exit-handler-1", "run": True, "note": "none"}


def _good(seen: Seen) -> None:
    found = seen.output("report.Output")
    assert {key: found[key] for key in GOOD} == GOOD, seen.story()


@family.case(Expect(states={"exit-handler-1": SUCCEEDED, "report": SUCCEEDED}, check=_good))
@dsl.pipeline(name="the-status-of-what-went-well")
def went_well():
    with dsl.ExitHandler(report()):
        say(text="x")


def _bad(seen: Seen) -> None:
    found = seen.output("report.Output")
    assert (found["state"], found["task"], found["note"]) == ("FAILED", "exit-handler-1", "n"), seen.story()
    assert "broken" in found["message"], seen.story()


@family.case(
    Expect(
        FAILED,
        states={"exit-handler-1": FAILED, "exit-handler-1/fail": FAILED, "report": SUCCEEDED},
        errors={"exit-handler-1": "broken"},
        absent=("exit-handler-1/say",),
        check=_bad,
    ),
    note="n",
)
@dsl.pipeline(name="the-status-of-what-failed")
def what_failed(note: str):
    with dsl.ExitHandler(report(note=note)):
        say(text=fail(reason="broken").output)


@family.case(Expect(FAILED, states={"exit-handler-1": SUCCEEDED, "fail": FAILED}, run_error="the handler"))
@dsl.pipeline(name="a-failing-handler-fails-the-run")
def a_failing_handler():
    with dsl.ExitHandler(fail(reason="the handler")):
        say(text="x")


@family.case(
    Expect(
        FAILED,
        states={
            "exit-handler-1": FAILED,
            "exit-handler-1/for-loop-3/1/condition-4": FAILED,
            "say": SUCCEEDED,
        },
        outputs={"say.Output": "cleaned p"},
    ),
    text="p",
)
@dsl.pipeline(name="a-handler-around-loops-and-conditions")
def around_loops(text: str):
    with dsl.ExitHandler(say(text=f"cleaned {text}")):
        with dsl.ParallelFor([1, 2]) as item, dsl.If(item == 2):
            fail(reason="two")
        add(a=1)


@family.case(
    Expect(
        FAILED,
        states={"exit-handler-1": FAILED, "report": SUCCEEDED, "add": SUCCEEDED},
    )
)
@dsl.pipeline(name="tasks-beside-a-handler")
def beside():
    with dsl.ExitHandler(report()):
        fail()
    add(a=1)


@light
def gather(text: str = "default", other: str = "none") -> str:
    return f"{text}/{other}"


@family.case(
    Expect(FAILED, states={"fail": FAILED}, outputs={"gather.Output": "default/o"}),
)
@dsl.pipeline(name="a-task-that-ignores-failures-before-it")
def ignoring():
    gather(text=fail().output, other=say(text="o").output).ignore_upstream_failure()


@family.case(Expect(outputs={"gather.Output": "fine/none"}))
@dsl.pipeline(name="a-task-that-ignores-failures-gets-what-there-is")
def ignoring_nothing():
    gather(text=say(text="fine").output, other="none").ignore_upstream_failure()


@family.case(
    Expect(FAILED, states={"fail": FAILED, "gather": SUCCEEDED}, outputs={"gather-2.Output": "default/x/n"}),
)
@dsl.pipeline(name="what-follows-a-task-that-ignores-failures-runs")
def follows():
    first = gather(text=fail().output, other="x").ignore_upstream_failure()
    gather(text=first.output, other="n").ignore_upstream_failure()


@light
def look(status: PipelineTaskFinalStatus) -> str:
    return f"{status.pipeline_task_name} {status.state}"


@family.case(Expect(FAILED, outputs={"look.Output": "fail FAILED"}))
@dsl.pipeline(name="the-status-of-a-task-that-is-ignored")
def status_of_a_task():
    failed = fail()
    look().after(failed).ignore_upstream_failure()


@dsl.pipeline(name="guarded")
def guarded(text: str):
    with dsl.ExitHandler(say(text=f"after {text}")):
        say(text=text)


@family.case(Expect(outputs={"guarded/say.Output": "after a", "guarded/exit-handler-1/say-2.Output": "a"}))
@dsl.pipeline(name="a-handler-within-a-pipeline-within-a-pipeline")
def within_a_pipeline():
    guarded(text="a")


@family.case(
    Expect(
        states={"exit-handler-1": SUCCEEDED, "exit-handler-2": SUCCEEDED},
        outputs={"say.Output": "first done", "say-3.Output": "second done"},
    )
)
@dsl.pipeline(name="two-handlers")
def two_handlers():
    with dsl.ExitHandler(say(text="first done")) as first:
        say(text="first")
    with dsl.ExitHandler(say(text="second done")):
        say(text="second").after(first)
