"""Runs and tasks as the API answers them."""

from typing import Any


def second(number: float) -> str:
    return f"2026-01-01T00:00:{number:06.3f}Z"


def task(identity: str, state: str, began: float, took: float | None = None, **fields: Any) -> dict[str, Any]:
    times = {"start_time": second(began)} if state not in ("PENDING", "SKIPPED") else {}
    if took is not None:
        times["end_time"] = second(began + took)
    return (
        {"task_id": identity, "display_name": identity, "create_time": second(began), "state": state} | times | fields
    )


def run_of(*tasks: dict[str, Any], state: str = "RUNNING", **fields: Any) -> dict[str, Any]:
    root = task("root", state, 0, child_tasks=[{"task_id": "load"}])
    below = [{"parent_task_id": "root", **item} for item in tasks]
    details = {"task_details": [root, *below]}
    return {"run_id": "r1", "display_name": "digits", "state": state, "run_details": details, **fields}


def loop(count: int, *states: str) -> dict[str, Any]:
    """A run with a loop of ``count`` iterations, each with one step; the first ones in these states."""
    tasks = [task("loop", "RUNNING", 0)]
    for number in range(count):
        state = states[number] if number < len(states) else "SUCCEEDED"
        tasks.append(task(f"i{number}", state, 0, 1, display_name="loop", parent_task_id="loop"))
        tasks.append(task(f"s{number}", state, 0, 1, display_name="square", parent_task_id=f"i{number}"))
    return run_of(*tasks)
