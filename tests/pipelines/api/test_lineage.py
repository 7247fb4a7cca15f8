"""What runs have read and made, as clients read it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.metadata.database import Database
from ketch.metadata.lineage import Lineage
from ketch.metadata.tables import INPUT, OUTPUT, Artifact, ArtifactTask
from ketch.pipelines.api.artifacts import MAX_IDS, ArtifactService
from ketch.pipelines.api.http import on_http_exception, on_request_error
from ketch.pipelines.api.tasks import TaskService
from ketch.pipelines.errors import RequestError
from ketch.pipelines.records.lineage import LineageStore, LinkScope
from ketch.pipelines.records.listing import ListQuery
from ketch.pipelines.records.states import advance_task
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.reporting import ReportStore

START = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = {"accuracy": 0.75, "rounds": 3}


def a_run(run_id: str = "r") -> Run:
    return Run(
        id=run_id,
        name=run_id,
        display_name="a run",
        namespace="kubeflow",
        experiment_id="e",
        pipeline_spec={},
        pipeline_root="minio://mlpipeline/v2/artifacts",
        created_at=START,
    )


def a_task(task_id: str, second: int, *states: str, **values: Any) -> Task:
    defaults: dict[str, Any] = {
        "run_id": "r",
        "path": task_id,
        "name": task_id,
        "display_name": task_id.title(),
        "kind": "container",
    }
    task = Task(id=task_id, created_at=START + timedelta(seconds=second), state_history=[], failed_pods=[], pod_name="")
    defaults |= {"inputs": {}, "outputs": {}, "cache_key": ""}
    for name, value in (defaults | values).items():
        setattr(task, name, value)
    for state in states:
        error = {"code": 2, "message": "broken"} if state == "FAILED" else None
        advance_task(task, state, START + timedelta(seconds=second + 1), error)
    return task


def an_artifact(artifact_id: str, type_: str, **properties: Any) -> Artifact:
    uri = f"minio://mlpipeline/v2/artifacts/{artifact_id}"
    return Artifact(
        id=artifact_id,
        namespace="kubeflow",
        type=type_,
        name=artifact_id,
        uri=uri,
        properties=properties,
        created_at=START,
    )


def a_link(task_id: str, role: str, key: str, artifact_id: str, position: int = 0, run_id: str = "r") -> ArtifactTask:
    return ArtifactTask(task_id=task_id, role=role, key=key, position=position, artifact_id=artifact_id, run_id=run_id)


def a_trained_model() -> Sequence[Any]:
    """A run whose ``train`` makes a model and metrics, which ``serve`` reads; ``serve`` fails at its second attempt."""
    made = {"parameters": {"score": 0.75, "done": False}, "artifacts": {"model": ["m"], "metrics": ["x"]}}
    return (
        a_run(),
        a_task("root", 0, "RUNNING", "FAILED", kind="root"),
        a_task("train", 1, "RUNNING", "SUCCEEDED", parent_id="root", pod_name="train-0", outputs=made, cache_key="k"),
        a_task(
            "serve",
            2,
            "PENDING",
            "RUNNING",
            "FAILED",
            parent_id="root",
            pod_name="serve-1",
            failed_pods=["serve-0"],
            inputs={"parameters": {"text": ""}, "artifacts": {"model": ["m"]}},
        ),
        an_artifact("m", "system.Model", framework="none"),
        an_artifact("x", "system.Metrics", **METRICS),
        an_artifact("o", "google.VertexModel"),
        a_link("train", OUTPUT, "model", "m"),
        a_link("train", OUTPUT, "metrics", "x"),
        a_link("serve", INPUT, "model", "m"),
    )


@dataclass
class Stage:
    database: Database
    http: httpx.AsyncClient

    async def add(self, rows: Sequence[Any]) -> None:
        async with self.database.transaction() as session:
            session.add_all(rows)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    await database.open()
    lineage, reports = LineageStore(database), ReportStore(database, SYSTEM_CLOCK)
    app = Starlette(
        routes=[
            *ArtifactService(lineage, reports, Lineage(database, ())).routes(),
            *TaskService(database, lineage, reports).routes(),
        ],
        exception_handlers={RequestError: on_request_error, HTTPException: on_http_exception},
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        yield Stage(database, http)
    await database.close()


async def test_metrics_and_models_are_read_after_a_run(stage: Stage):
    await stage.add(a_trained_model())
    task = await stage.get("/runs/r/tasks/train")
    outputs = {each["artifact_key"]: each["artifacts"] for each in task["outputs"]["artifacts"]}
    assert outputs["metrics"][0]["metadata"] == METRICS
    assert outputs["model"] == [
        {
            "artifact_id": "m",
            "name": "m",
            "type": "Model",
            "uri": "minio://mlpipeline/v2/artifacts/m",
            "metadata": {"framework": "none"},
            "created_at": "2026-01-01T00:00:00Z",
            "namespace": "kubeflow",
        }
    ]
    assert task["outputs"]["parameters"] == [
        {"value": 0.75, "type": "OUTPUT", "parameter_key": "score"},
        {"value": False, "type": "OUTPUT", "parameter_key": "done"},
    ]
    assert outputs["model"][0] == await stage.get("/artifacts/m")


async def test_a_failed_task_as_a_whole(stage: Stage):
    await stage.add(a_trained_model())
    task = await stage.get("/runs/r/tasks/serve")
    assert task["inputs"]["artifacts"][0]["type"] == "TASK_OUTPUT_INPUT"
    del task["inputs"]
    error = {"code": 2, "message": "broken"}
    assert task == {
        "task_id": "serve",
        "run_id": "r",
        "name": "serve",
        "display_name": "Serve",
        "pods": [{"name": "serve-0", "type": "EXECUTOR"}, {"name": "serve-1", "type": "EXECUTOR"}],
        "create_time": "2026-01-01T00:00:02Z",
        "end_time": "2026-01-01T00:00:03Z",
        "state": "FAILED",
        "status_metadata": {"message": "broken"},
        "state_history": [
            {"update_time": "2026-01-01T00:00:03Z"},
            {"update_time": "2026-01-01T00:00:03Z", "state": "RUNNING"},
            {"update_time": "2026-01-01T00:00:03Z", "state": "FAILED", "error": error},
        ],
        "type": "RUNTIME",
        "parent_task_id": "root",
    }


async def test_tasks_of_a_run(stage: Stage):
    loop = a_task("loop", 3, "RUNNING", kind="loop", parent_id="root", iteration_count=1)
    first = a_task("first", 4, "CACHED", kind="dag", parent_id="loop", iteration=0)
    await stage.add((*a_trained_model(), loop, first, a_run("other"), a_task("else", 0, run_id="other")))
    listed = await stage.get("/runs/r/tasks")
    assert [task["task_id"] for task in listed["tasks"]] == ["root", "train", "serve", "loop", "first"]
    assert listed["total_size"] == 5
    root, _, _, loop_message, iteration = listed["tasks"]
    assert [child["task_id"] for child in root["child_tasks"]] == ["train", "serve", "loop"]
    assert root["child_tasks"][0]["pod_name"] == "train-0"
    assert (root["type"], loop_message["type"], iteration["type"]) == ("ROOT", "LOOP", "DAG")
    assert (loop_message["type_attributes"], iteration["type_attributes"]) == (
        {"iteration_count": "1"},
        {"iteration_index": "0"},
    )
    assert iteration["state"] == "CACHED"
    page = await stage.get("/runs/r/tasks", page_size=3, sort_by="name desc")
    rest = await stage.get("/runs/r/tasks", page_size=3, page_token=page["next_page_token"])
    names = [task["name"] for task in (*page["tasks"], *rest["tasks"])]
    assert (names, "next_page_token" in rest) == (["train", "serve", "root", "loop", "first"], False)


async def test_artifacts_are_listed_and_filtered_by_type(stage: Stage):
    await stage.add(a_trained_model())
    listed = await stage.get("/artifacts")
    assert {each["artifact_id"]: each["type"] for each in listed["artifacts"]} == {
        "m": "Model",
        "o": "Artifact",
        "x": "Metric",
    }
    predicate = '{"predicates": [{"operation": "EQUALS", "key": "type", "string_value": "Model"}]}'
    found = await stage.get("/artifacts", filter=predicate)
    assert ([each["artifact_id"] for each in found["artifacts"]], found["total_size"]) == (["m"], 1)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({"run_ids": "r"}, ["serve<m", "train>x", "train>m"], id="of a run"),
        pytest.param({"artifact_ids": "m"}, ["serve<m", "train>m"], id="of an artifact"),
        pytest.param({"task_ids": ["serve", "else"]}, ["serve<m"], id="of tasks"),
        pytest.param({"run_ids": "r", "type": "OUTPUT"}, ["train>x", "train>m"], id="made"),
        pytest.param({"run_ids": "r", "type": "2"}, ["serve<m"], id="read, by number"),
        pytest.param({"run_ids": "r", "type": "ITERATOR_INPUT"}, [], id="a type that no link has"),
        pytest.param({"run_ids": "r", "task_ids": "train", "artifact_ids": "m"}, ["train>m"], id="all at once"),
        pytest.param({"run_ids": "elsewhere"}, [], id="none"),
    ],
)
async def test_links(stage: Stage, query: Mapping[str, Any], expected: Sequence[str]):
    await stage.add(a_trained_model())
    answer = await stage.get("/artifact_tasks", **query)
    links = answer.get("artifact_tasks", ())
    assert answer.get("total_size", 0) == len(links)
    assert [] not in answer.values()
    signs = {"OUTPUT": ">", "TASK_OUTPUT_INPUT": "<"}
    assert [f"{link['task_id']}{signs[link['type']]}{link['artifact_id']}" for link in links] == expected
    assert all(link["producer"] == {"task_name": "train"} for link in links)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        pytest.param("/artifacts/none", 404, "Artifact none not found", id="unknown artifact"),
        pytest.param("/runs/none/tasks", 404, "Run none not found", id="unknown run"),
        pytest.param("/runs/other/tasks/train", 404, "Run other has no task train", id="another run's task"),
        pytest.param("/artifact_tasks", 400, "at least one of task_ids, run_ids", id="links of everything"),
        pytest.param(f"/artifact_tasks?{'run_ids=r&' * (MAX_IDS + 1)}", 400, "at most 100", id="too many ids"),
        pytest.param("/artifact_tasks?run_ids=r&type=nothing", 400, "'nothing' is none of", id="unknown type"),
        pytest.param("/artifact_tasks?run_ids=r&type=12", 400, "12 is none of", id="unknown number"),
        pytest.param("/artifact_tasks?run_ids=r&sort_by=key", 400, "not sorted", id="sorted links"),
        pytest.param("/artifacts?sort_by=size", 400, "there is no field 'size'", id="unknown field"),
    ],
)
async def test_refusals(stage: Stage, path: str, status: int, message: str):
    await stage.add((*a_trained_model(), a_run("other")))
    answer = await stage.http.get(path)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.text


@settings(max_examples=15, deadline=None)
@given(
    links=st.sets(
        st.tuples(st.sampled_from("ab"), st.sampled_from((INPUT, OUTPUT)), st.text("k/é", min_size=1, max_size=2)),
        max_size=12,
    ),
    several=st.integers(1, 12),
    size=st.integers(1, 5),
)
def test_pages_of_links_hold_every_link_once(links: set[tuple[str, str, str]], several: int, size: int):
    rows = [a_link(task, role, key, "m", position) for task, role, key in links for position in range(several)]

    async def collected(directory: str) -> list[tuple[str, str, str, int]]:
        database = Database(f"sqlite:///{directory}/platform.db")
        await database.open()
        async with database.transaction() as session:
            session.add_all(rows)
        found: list[tuple[str, str, str, int]] = []
        after = None
        while True:
            page = await LineageStore(database).links(ListQuery(size, after=after), LinkScope(run_ids=("r",)))
            assert page.total == len(rows)
            found += [(row.task_id, row.role, row.key, row.position) for row in page.rows]
            if page.end is None:
                await database.close()
                return found
            assert len(page.rows) == size
            after = page.end

    with TemporaryDirectory() as directory:
        found = asyncio.run(collected(directory))
    expected = sorted((task, role, key, position) for task, role, key in links for position in range(several))
    assert sorted(found) == expected
    assert len(set(found)) == len(found)
