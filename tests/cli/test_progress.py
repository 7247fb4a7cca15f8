"""A run as text: the tree, its times, its errors."""

from datetime import UTC, datetime
from typing import Any

from ketch.cli.progress import failure_text, progress_lines, tree

NOW = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


def second(number: float) -> str:
    return f"2026-01-01T00:00:{number:06.3f}Z"


def task(identity: str, state: str, began: float, took: float | None = None, **fields: Any) -> dict[str, Any]:
    times = {"start_time": second(began)} if state != "PENDING" else {}
    if took is not None:
        times["end_time"] = second(began + took)
    return (
        {"task_id": identity, "display_name": identity, "create_time": second(began), "state": state} | times | fields
    )


def run_of(*tasks: dict[str, Any], state: str = "RUNNING", **fields: Any) -> dict[str, Any]:
    root = task("root", state, 0, child_tasks=[{"task_id": "load"}])
    below = [{"parent_task_id": "root", **item} for item in tasks]
    return {"display_name": "digits", "state": state, "run_details": {"task_details": [root, *below]}, **fields}


def test_steps_are_shown_in_the_order_in_which_they_began_with_their_times():
    run = run_of(
        task("train", "RUNNING", 2.5),
        task("load", "SUCCEEDED", 0.2, 0.25),
        task("choose", "PENDING", 3, error={"message": "exit code 1:\nOSError: no data"}),
    )
    assert progress_lines(run, NOW) == (
        "digits  RUNNING  10.0 s",
        "  ✓ load    SUCCEEDED   0.2 s",
        "  ● train   RUNNING     7.5 s",
        "  · choose  PENDING            OSError: no data",
    )


def test_a_step_that_succeeded_without_a_start_was_cached():
    step = {"task_id": "load", "display_name": "load", "state": "SUCCEEDED", "end_time": second(1)}
    assert [line.note for line in tree(run_of(step), NOW)] == ["cached"]


def test_what_is_inside_is_shown_below_and_iterations_are_counted():
    run = run_of(
        task("loop", "RUNNING", 0),
        task("first", "RUNNING", 0, display_name="loop", parent_task_id="loop"),
        task("second", "SUCCEEDED", 1, 1, display_name="loop", parent_task_id="loop"),
        task("square", "SUCCEEDED", 1, 1, parent_task_id="second"),
    )
    assert [(line.depth, line.path) for line in tree(run, NOW)] == [
        (0, "loop"),
        (1, "loop/[0]"),
        (1, "loop/[1]"),
        (2, "loop/[1]/square"),
    ]


def test_a_run_without_tasks_is_one_line():
    run = {"display_name": "digits", "created_at": "2026-01-01T00:00:08Z", "finished_at": "1970-01-01T00:00:00Z"}
    assert progress_lines(run, NOW) == ("digits  PENDING  2.0 s",)


def test_a_failure_is_told_in_the_step_s_own_words_once():
    error = {"message": "ValueError: no data"}
    run = run_of(
        task("inner", "FAILED", 1, 1, error={"message": "train failed: ValueError: no data"}),
        task("train", "FAILED", 1, 1, parent_task_id="inner", error=error),
        state="FAILED",
    )
    assert failure_text(run) == "train: ValueError: no data"


def test_a_run_that_failed_without_a_step_tells_its_own_error():
    assert failure_text({"state": "FAILED", "error": {"message": "the specification is wrong"}}).endswith("is wrong")
