"""The tasks inside a run's answer: whatever was answered before, they are as the rows are now."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
from tests.pipelines.api.test_wire import a_run

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.pipelines.api.details import task_details
from ketch.pipelines.records.states import FAILED, PENDING, RUNNING, SUCCEEDED, advance_task
from ketch.pipelines.records.tables import Task

Stage = Any
ERROR = {"code": 2, "message": "it broke"}


def a_task(run_id: str, name: str, parent: str | None = None) -> Task:
    task = Task(
        id=name, run_id=run_id, path=name, name=name, display_name=name, kind="container", parent_id=parent,
        created_at=SYSTEM_CLOCK.now(), state="", state_history=[], failed_pods=[], pod_name="", inputs={}, outputs={},
    )  # fmt: skip
    advance_task(task, PENDING, SYSTEM_CLOCK.now())
    return task


def told(http: httpx.Client, run_id: str) -> Sequence[Mapping[str, Any]]:
    return http.get(f"/runs/{run_id}").json()["run_details"].get("task_details", [])


def expected(stage: Stage, run_id: str) -> Sequence[Mapping[str, Any]]:
    return msgspec.json.decode(msgspec.json.encode(task_details(stage.call(stage.runs.tasks(run_id)))))


def change(stage: Stage, name: str, **columns: Any) -> None:
    async def write() -> None:
        async with stage.database.transaction() as session:
            task = await session.get(Task, name)
            assert task is not None
            if state := columns.pop("advance", ""):
                advance_task(task, state, SYSTEM_CLOCK.now(), columns.pop("error", None))
            for column, value in columns.items():
                setattr(task, column, value)

    stage.call(write())


def add(stage: Stage, *tasks: Task) -> None:
    async def write() -> None:
        async with stage.database.transaction() as session:
            session.add_all(tasks)

    stage.call(write())


def test_every_change_of_a_task_is_told(http: httpx.Client, stage: Stage):
    run_id = http.post("/runs", json=a_run()).json()["run_id"]
    assert told(http, run_id) == []
    add(stage, a_task(run_id, "root"), a_task(run_id, "a", "root"), a_task(run_id, "b", "root"))
    changes: Sequence[Mapping[str, Any]] = (
        {"error": {"code": 2, "message": "no room yet"}},
        {"error": {"code": 2, "message": "its image is being pulled"}},
        {"pod_name": "a-pod"},
        {"advance": RUNNING},
        {"advance": FAILED, "error": ERROR},
        {"advance": PENDING, "pod_name": "a-pod-1", "failed_pods": ["a-pod"], "attempt": 1, "started_at": None},
        {"advance": RUNNING},
        {"advance": SUCCEEDED, "outputs": {"artifacts": {"model": ["m"]}}},
    )
    for columns in changes:
        change(stage, "a", **columns)
        assert told(http, run_id) == expected(stage, run_id)
        assert told(http, run_id) == expected(stage, run_id)
    assert [child["task_id"] for child in told(http, run_id)[0]["child_tasks"]] == ["a", "b"]


def test_tasks_that_are_forgotten_are_not_told(http: httpx.Client, stage: Stage):
    run_id = http.post("/runs", json=a_run()).json()["run_id"]
    add(stage, *(a_task(run_id, f"t{number}") for number in range(600)))
    assert told(http, run_id) == expected(stage, run_id)

    async def forget() -> None:
        async with stage.database.transaction() as session:
            for number in range(0, 600, 2):
                await session.delete(await session.get(Task, f"t{number}"))

    stage.call(forget())
    assert [task["task_id"] for task in told(http, run_id)] == [f"t{number}" for number in range(1, 600, 2)]
