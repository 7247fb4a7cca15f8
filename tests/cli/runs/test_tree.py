"""A run as text: the tree, what is folded, what is said of each step."""

from datetime import UTC, datetime

import pytest
from tests.cli.runs.api_answers import loop, run_of, second, task

from ketch.cli.runs.steps import steps_of
from ketch.cli.runs.tree import columns, fitting, heading, lines_of, took, width_of

NOW = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


def shown(run, natives=None, fold=None) -> list[str]:
    lines = lines_of(steps_of(run, natives or {}), NOW, fold)
    return [f"{line.sign} {columns(line, width_of(lines))}" for line in lines]


def test_steps_are_shown_in_the_order_in_which_they_began_with_their_times():
    run = run_of(
        task("train", "RUNNING", 2.5),
        task("load", "SUCCEEDED", 0.2, 0.25),
        task("choose", "PENDING", 3, error={"message": "exit code 1:\nOSError: no data"}),
    )
    assert heading(run, NOW) == "digits  RUNNING  10.0 s"
    assert shown(run) == [
        "✓ load    SUCCEEDED   0.2 s",
        "● train   RUNNING     7.5 s",
        "· choose  PENDING            OSError: no data",
    ]


def test_a_step_that_succeeded_without_a_start_was_cached():
    step = {"task_id": "load", "display_name": "load", "state": "SUCCEEDED", "end_time": second(1)}
    assert shown(run_of(step)) == ["✓ load  CACHED"]


def test_what_the_native_api_says_of_caching_counts_more():
    step = {"task_id": "data", "display_name": "data", "state": "SUCCEEDED"}
    assert shown(run_of(step), {"data": {"type": "IMPORTER", "state": "SUCCEEDED"}}) == ["✓ data  SUCCEEDED"]


def test_an_iteration_of_one_step_is_one_line_and_a_loop_counts_its_iterations():
    run = run_of(
        task("loop", "RUNNING", 0),
        task("second", "SUCCEEDED", 1, 1, display_name="loop", parent_task_id="loop"),
        task("first", "RUNNING", 1, display_name="loop", parent_task_id="loop"),
        task("square", "SUCCEEDED", 1, 1, parent_task_id="second"),
        task("cube", "RUNNING", 2, parent_task_id="first"),
        task("sum", "PENDING", 3, parent_task_id="first"),
    )
    natives = {
        "loop": {"type": "LOOP", "type_attributes": {"iteration_count": "3"}},
        "first": {"type": "DAG", "type_attributes": {"iteration_index": "0"}},
        "second": {"type": "DAG", "type_attributes": {"iteration_index": "1"}},
    }
    assert shown(run, natives) == [
        "● loop          RUNNING    10.0 s  1/3",
        "●   [0]         RUNNING     9.0 s",
        "●     cube      RUNNING     8.0 s",
        "·     sum       PENDING",
        "✓   [1] square  SUCCEEDED   1.0 s",
    ]
    assert [step.path for step in steps_of(run, natives)[0].every()][-1] == "loop/[1]/square"


def test_many_iterations_are_folded_and_the_urgent_ones_stay():
    run = loop(100, "SUCCEEDED", "SUCCEEDED", "FAILED", "RUNNING", "PENDING")
    assert shown(run, fold=3) == [
        "● loop          RUNNING    10.0 s  98/100",
        "✗   [2] square  FAILED      1.0 s",
        "●   [3] square  RUNNING     1.0 s",
        "·   [4] square  PENDING",
        "…   97 more                        97 succeeded",
    ]


@pytest.mark.parametrize("room", [3, 5, 8, 20])
def test_a_tree_fits_its_room_and_shows_what_failed(room):
    tasks = [task(f"t{number}", "SUCCEEDED", number / 10, 1) for number in range(40)]
    run = loop(30, "FAILED")
    run["run_details"]["task_details"] += [{"parent_task_id": "root", **each} for each in tasks]
    lines = fitting(steps_of(run, {}), NOW, room)
    assert len(lines) <= room
    assert lines[0].name == "loop"


def test_attempts_and_reasons_are_told():
    run = run_of(
        task("flaky", "SUCCEEDED", 0, 1, pod_name="p2", executor_detail={"main_job": "p2", "failed_main_jobs": ["p1"]}),
        task("bad", "FAILED", 1, 1, error={"message": "exit code 1:   File x\nValueError: no data\nline 1"}),
        task("gone", "FAILED", 2, 1, error={"message": "the pod x was deleted before the step ended"}),
        task("not-taken", "SKIPPED", 3),
    )
    assert shown(run) == [
        "✓ flaky      SUCCEEDED   1.0 s  attempt 2",
        "✗ bad        FAILED      1.0 s  ValueError: no data",
        "✗ gone       FAILED      1.0 s  the pod x was deleted before the step ended",
        "- not-taken  SKIPPED",
    ]


def test_steps_of_one_name_have_paths_of_their_own():
    run = run_of(task("a", "SUCCEEDED", 0, 1, display_name="x"), task("b", "SUCCEEDED", 1, 1, display_name="x"))
    assert [step.path for step in steps_of(run, {})] == ["x", "x#2"]


def test_a_run_without_tasks_is_one_line():
    run = {"display_name": "digits", "created_at": "2026-01-01T00:00:08Z", "finished_at": "1970-01-01T00:00:00Z"}
    assert heading(run, NOW) == "digits  PENDING  2.0 s"
    assert steps_of(run, {}) == ()


@pytest.mark.parametrize(("seconds", "text"), [(3.14, "3.1 s"), (125, "2 m 05 s"), (11240, "3 h 07 m")])
def test_durations_are_short(seconds, text):
    began = datetime(2026, 1, 1, tzinfo=UTC)
    assert took(began, datetime.fromtimestamp(began.timestamp() + seconds, UTC)) == text
