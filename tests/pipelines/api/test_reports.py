"""What clients report beside the engine: tasks, artifacts, links; and that they harm nothing that the engine drives."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from tests.pipelines.api.test_wire import a_run, refused

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.metadata.tables import OUTPUT, Artifact, ArtifactTask
from ketch.pipelines.records.states import RUNNING, SUCCEEDED, advance_task
from ketch.pipelines.records.tables import Task

Stage = Any


@pytest.fixture
def run_id(http: httpx.Client, stage: Stage) -> str:
    """A run whose one step "train" has made the artifact "model"."""
    run_id = http.post("/runs", json=a_run()).json()["run_id"]

    async def engine() -> None:
        async with stage.database.transaction() as session:
            now = SYSTEM_CLOCK.now()
            task = Task(
                id="train", run_id=run_id, path="root/train", name="train", display_name="Train", kind="container",
                created_at=now, state_history=[], failed_pods=[], pod_name="train-pod", cache_key="print",
                inputs={}, outputs={"parameters": {"loss": 0.5}, "artifacts": {"model": ["m"]}},
            )  # fmt: skip
            advance_task(task, RUNNING, now)
            advance_task(task, SUCCEEDED, now)
            session.add(task)
            session.add(
                Artifact(id="m", namespace="kubeflow", type="system.Model", name="model", uri="minio://b/m",
                         properties={}, created_at=now)
            )  # fmt: skip
            session.add(ArtifactTask(task_id="train", role=OUTPUT, key="model", artifact_id="m", run_id=run_id))

    stage.call(engine())
    return run_id


def state_of(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(task["name"], task.get("state", "")) for task in run["tasks"]]


def test_a_task_below_one_of_the_engine(http: httpx.Client, stage: Stage, run_id: str):
    tasks = f"/runs/{run_id}/tasks"
    wanted = {
        "name": "epoch-1", "display_name": "Epoch 1", "parent_task_id": "train", "type": "LOOP",
        "inputs": {"parameters": [{"parameter_key": "rate", "value": 0.1, "type": "RUNTIME_VALUE_INPUT"}]},
        "type_attributes": {"iteration_index": 1}, "pods": [{"name": "p", "type": "EXECUTOR"}],
        "status_metadata": {"message": "warming up", "custom_properties": {"seed": 7}},
    }  # fmt: skip
    made = http.post(tasks, json=wanted).json()
    assert {key: made[key] for key in wanted} == wanted | {"type_attributes": {"iteration_index": "1"}}
    assert (made["state"], made["run_id"]) == ("RUNNING", run_id)
    path = f"{tasks}/{made['task_id']}"
    assert http.get(path).json() == made
    assert http.get(f"{tasks}/train").json()["child_tasks"] == [{"task_id": made["task_id"]}]
    outputs = {"parameters": [{"parameter_key": "loss", "value": 0.4}]}
    ended = http.patch(path, json={"state": "SUCCEEDED", "outputs": outputs}).json()
    assert (ended["state"], ended["outputs"], ended["inputs"]) == ("SUCCEEDED", outputs, wanted["inputs"])
    assert [entry["state"] for entry in ended["state_history"]] == ["RUNNING", "SUCCEEDED"]
    refused(http.patch(path, json={"state": "RUNNING"}), 400, 9)
    listed = http.get(tasks, params={"page_size": 1}).json()
    assert ([task["name"] for task in listed["tasks"]], listed["total_size"]) == (["train"], 2)
    rest = http.get(tasks, params={"page_size": 1, "page_token": listed["next_page_token"]}).json()
    assert ([task["name"] for task in rest["tasks"]], "next_page_token" in rest) == (["epoch-1"], False)
    assert [task.id for task in stage.call(stage.runs.tasks(run_id))] == ["train"]  # all that the engine sees


def test_several_at_once_or_none(http: httpx.Client, run_id: str):
    tasks = f"/runs/{run_id}/tasks"
    ids = [http.post(tasks, json={"name": f"t{number}"}).json()["task_id"] for number in range(2)]
    changes = {ids[0]: {"state": "SUCCEEDED"}, "train": {"state": "FAILED"}}
    assert "driven by the platform" in refused(http.post(f"{tasks}:batchUpdate", json={"tasks": changes}), 400, 9)
    assert http.get(f"{tasks}/{ids[0]}").json()["state"] == "RUNNING"
    changes = {ids[0]: {"state": "SUCCEEDED"}, ids[1]: {"state": "FAILED", "status_metadata": {"message": "no"}}}
    answer = http.post(f"{tasks}:batchUpdate", json={"tasks": changes}).json()["tasks"]
    assert [answer[task_id]["state"] for task_id in ids] == ["SUCCEEDED", "FAILED"]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        pytest.param({}, 3, "name: a task needs", id="no name"),
        pytest.param({"name": "x" * 256}, 3, "1 to 255", id="long name"),
        pytest.param({"name": "t", "type": "ROOT"}, 3, "has its ROOT already", id="a second root"),
        pytest.param({"name": "t", "parent_task_id": "none"}, 3, "has no task none", id="parent that is not there"),
        pytest.param({"name": "t", "state": "PENDING"}, 3, "is none of", id="a run's state"),
        pytest.param({"name": "t", "task_id": "mine"}, 3, "given by the server", id="own id"),
        pytest.param({"name": "t", "run_id": "other"}, 3, "not the run in the path", id="another run"),
        pytest.param({"name": "t", "outputs": {"artifacts": [{}]}}, 3, "by artifact_tasks", id="artifacts inside"),
        pytest.param({"name": "t", "status_metadata": {"message": "x" * 300_000}}, 3, "262144 bytes", id="large"),
        pytest.param({"name": "t", "colour": 1}, 3, 'unknown field "colour"', id="unknown field"),
    ],
)
def test_reports_that_are_refused(http: httpx.Client, run_id: str, body: Any, code: int, message: str):
    assert message in refused(http.post(f"/runs/{run_id}/tasks", json=body), 400, code)
    assert http.get(f"/runs/{run_id}/tasks").json()["total_size"] == 1


def test_what_the_engine_drives_nobody_else_writes(http: httpx.Client, stage: Stage, run_id: str):
    before = http.get(f"/runs/{run_id}/tasks/train").json()
    refused(http.patch(f"/runs/{run_id}/tasks/train", json={"state": "FAILED"}), 400, 9)
    link = {"artifact_id": "m", "run_id": run_id, "task_id": "train", "type": "OUTPUT", "key": "other"}
    assert "driven by the platform" in refused(http.post("/artifact_tasks", json={"artifact_task": link}), 400, 9)
    artifact = {"artifact": {"name": "a", "type": "Model"}, "run_id": run_id, "task_id": "train", "producer_key": "k"}
    refused(http.post("/artifacts", json=artifact), 400, 9)
    assert http.get(f"/runs/{run_id}/tasks/train").json() == before
    assert http.get("/artifacts").json()["total_size"] == 1  # not even the artifact stayed
    stage.bring(run_id, "SUCCEEDED")
    assert "is over" in refused(http.post(f"/runs/{run_id}/tasks", json={"name": "late"}), 400, 9)
    refused(http.post("/runs/none/tasks", json={"name": "t"}), 404, 5)


def test_artifacts_of_a_reported_task_and_their_lineage(http: httpx.Client, run_id: str):
    task_id = http.post(f"/runs/{run_id}/tasks", json={"name": "evaluate"}).json()["task_id"]
    of_task = {"run_id": run_id, "task_id": task_id}
    read = {"artifact_task": {**of_task, "artifact_id": "m", "type": "TASK_OUTPUT_INPUT", "key": "model"}}
    link = http.post("/artifact_tasks", json=read).json()
    assert link["producer"] == {"task_name": "train"}
    refused(http.post("/artifact_tasks", json=read), 409, 6)
    metrics = [
        {"artifact": {"name": name, "type": "Metric", "number_value": value}, "producer_key": name, "type": "OUTPUT"}
        for name, value in (("accuracy", 0.0), ("f1", 0.75))
    ]
    made = http.post("/artifacts:batchCreate", json={"artifacts": [each | of_task for each in metrics]}).json()
    assert [(each["name"], each["number_value"], each["namespace"]) for each in made["artifacts"]] == [
        ("accuracy", 0.0, "kubeflow"), ("f1", 0.75, "kubeflow"),
    ]  # fmt: skip
    task = http.get(f"/runs/{run_id}/tasks/{task_id}").json()
    assert [each["artifact_key"] for each in task["outputs"]["artifacts"]] == ["accuracy", "f1"]
    assert task["inputs"]["artifacts"][0]["artifacts"][0]["artifact_id"] == "m"
    accuracy = made["artifacts"][0]["artifact_id"]
    graph = http.get("/lineage", params={"artifact_ids": accuracy, "direction": "UPSTREAM"}).json()
    assert {each["name"] for each in graph["artifacts"]} == {"accuracy", "model"}
    assert {each["name"]: each["state"] for each in graph["executions"]} == {
        "evaluate": "RUNNING",
        "Train": "SUCCEEDED",
    }
    assert [(each["id"], each["name"]) for each in graph["contexts"]] == [(run_id, "r")]
    near = http.get("/lineage", params={"artifact_ids": "m", "direction": "DOWNSTREAM", "depth": 0}).json()
    assert [each["artifact_id"] for each in near["artifacts"]] == ["m"]
    http.delete(f"/runs/{run_id}")
    left = http.get("/lineage", params={"artifact_ids": accuracy}).json()
    assert ("executions" in left, len(left["events"])) == (False, 3)  # what was made of what outlives the run


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/artifacts", {}, 400, "artifact: is missing"),
        ("/artifacts", {"artifact": {"name": "a"}}, 400, "artifact.type: is missing"),
        ("/artifacts", {"artifact": {"type": "Model"}}, 400, "artifact.name"),
        ("/artifacts", {"artifact": {"name": "a", "type": "Model"}, "type": "COMPONENT_INPUT"}, 400, "no output's"),
        ("/artifacts", {"artifact": {"name": "a", "type": "Model"}, "run_id": "none"}, 404, "Run none not found"),
        ("/artifacts", {"artifact": {"name": "a", "type": "Model"}, "task_id": "t"}, 400, "run_id and producer_key"),
        ("/artifacts", {"artifact": {"name": "a", "type": "Model", "number_value": "1"}}, 400, "expected a number"),
        ("/artifacts:batchCreate", {}, 400, "expected 1 to 500"),
        ("/artifact_tasks", {}, 400, "artifact_task: is missing"),
        ("/artifact_tasks:batchCreate", {"artifact_tasks": [{"key": "k"}]}, 400, "artifact_id: is missing"),
        ("/tasks:findCached", {}, 400, "cache_fingerprint: is missing"),
    ],
)
def test_artifacts_that_are_refused(http: httpx.Client, path: str, body: Any, status: int, message: str):
    answer = http.post(path, json=body)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.text


@pytest.mark.parametrize("query", ["", "artifact_ids=a&depth=-1", "run_ids=r&depth=x", "run_ids=r&direction=LEFT"])
def test_searches_that_are_refused(http: httpx.Client, query: str):
    refused(http.get(f"/lineage?{query}"), 400, 3)


def test_a_cached_task_is_found(http: httpx.Client, run_id: str):
    assert http.post("/tasks:findCached", json={"cache_fingerprint": "none"}).json() == {}
    found = http.post("/tasks:findCached", json={"namespace": "kubeflow", "cache_fingerprint": "print"}).json()
    assert found["task"]["task_id"] == "train"


def test_runs_with_their_tasks(http: httpx.Client, run_id: str):
    http.post(f"/runs/{run_id}/tasks", json={"name": "extra"})
    plain, full = http.get(f"/runs/{run_id}").json(), http.get(f"/runs/{run_id}?view=FULL").json()
    assert ("tasks" in plain, plain["task_count"], len(plain["run_details"]["task_details"])) == (False, 2, 1)
    assert state_of(full) == [("train", "SUCCEEDED"), ("extra", "RUNNING")]
    assert "run_details" not in http.get("/runs").json()["runs"][0]
    assert state_of(http.get("/runs?view=1").json()["runs"][0]) == state_of(full)
    assert "is none of DEFAULT, FULL" in refused(http.get("/runs?view=HALF"), 400, 3)


def test_an_artifact_is_read(http: httpx.Client, stage: Stage, run_id: str):
    path = f"/runs/{run_id}/nodes"
    assert "nothing is stored" in refused(http.get(f"{path}/train/artifacts/model:read"), 404, 5)
    stage.call(stage.objects.write("minio://b/m", b"weights"))
    for node in ("train", "train-pod"):
        assert http.get(f"{path}/{node}/artifacts/model:read").json() == {"data": "d2VpZ2h0cw=="}
    assert "no output artifact other" in refused(http.get(f"{path}/train/artifacts/other:read"), 404, 5)
    assert "has no step none" in refused(http.get(f"{path}/none/artifacts/model:read"), 404, 5)
