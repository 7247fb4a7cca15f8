"""v1beta1's read calls, and what else is served beside v2beta1: metrics, refusals, the description of it all."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.pipelines.api.test_wire import SPEC, a_run, refused

Stage = Any


@pytest.fixture
def older(stage: Stage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stage.host}/apis/v1beta1", trust_env=False) as client:
        yield client


@pytest.fixture
def filled(http: httpx.Client) -> dict[str, str]:
    """One of each kind: their ids."""
    both = {"pipeline": {"name": "p", "description": "d"}, "pipeline_version": {"name": "v", "pipeline_spec": SPEC}}
    pipeline_id = http.post("/pipelines/create", json=both).json()["pipeline_id"]
    http.post(f"/pipelines/{pipeline_id}/versions", json={"name": "w", "pipeline_spec": SPEC})
    reference = {"pipeline_version_reference": {"pipeline_id": pipeline_id}, "pipeline_spec": None}
    run = http.post("/runs", json=a_run(**reference)).json()
    job = {"display_name": "j", "max_concurrency": 2, "mode": "DISABLE", "pipeline_spec": SPEC}
    job |= {"runtime_config": {"parameters": {"n": 1}}, "trigger": {"periodic_schedule": {"interval_second": 60}}}
    recurring = http.post("/recurringruns", json=job).json()
    return {
        "pipeline": pipeline_id,
        "run": run["run_id"],
        "experiment": run["experiment_id"],
        "job": recurring["recurring_run_id"],
    }


def test_experiments(older: httpx.Client, filled: dict[str, str]):
    (listed,) = older.get("/experiments", params={"page_size": 5, "sort_by": "created_at desc"}).json()["experiments"]
    assert (listed["name"], listed["storage_state"]) == ("Default", "STORAGESTATE_AVAILABLE")
    assert older.get(f"/experiments/{filled['experiment']}").json() == listed


def test_pipelines_and_versions(older: httpx.Client, filled: dict[str, str]):
    (listed,) = older.get("/pipelines").json()["pipelines"]
    assert (listed["name"], listed["default_version"]["name"]) == ("p", "w")
    assert older.get(f"/pipelines/{filled['pipeline']}").json() == listed
    assert json.loads(older.get(f"/pipelines/{filled['pipeline']}/templates").json()["template"]) == SPEC
    query = {"resource_key.type": "PIPELINE", "resource_key.id": filled["pipeline"], "sort_by": "created_at desc"}
    versions = older.get("/pipeline_versions", params=query).json()
    assert ([version["name"] for version in versions["versions"]], versions["total_size"]) == (["w", "v"], 2)
    version = older.get(f"/pipeline_versions/{versions['versions'][0]['id']}").json()
    assert version["resource_references"] == [
        {"key": {"type": "PIPELINE", "id": filled["pipeline"]}, "relationship": "OWNER"}
    ]
    assert "template" in older.get(f"/pipeline_versions/{version['id']}/templates").json()
    refused(older.get("/pipeline_versions"), 400, 3)


def test_runs(older: httpx.Client, stage: Stage, filled: dict[str, str]):
    stage.bring(filled["run"], "FAILED")
    query = {"resource_reference_key.type": "EXPERIMENT", "resource_reference_key.id": filled["experiment"]}
    predicate = {"op": "NOT_EQUALS", "key": "storage_state", "string_value": "STORAGESTATE_ARCHIVED"}
    (listed,) = older.get("/runs", params={**query, "filter": json.dumps({"predicates": [predicate]})}).json()["runs"]
    assert (listed["name"], listed["status"], listed["error"]) == ("r", "Failed", "broken")
    assert [each["key"]["type"] for each in listed["resource_references"]] == ["EXPERIMENT", "PIPELINE_VERSION"]
    predicate["op"] = "EQUALS"
    assert older.get("/runs", params={"filter": json.dumps({"predicates": [predicate]})}).json() == {}
    detail = older.get(f"/runs/{filled['run']}").json()
    assert json.loads(detail["pipeline_runtime"]["pipeline_manifest"]) == SPEC
    assert detail["run"]["pipeline_spec"]["runtime_config"]["parameters"] == {"n": 1}
    refused(older.get("/runs/none"), 404, 5)
    refused(older.get("/runs", params={"resource_reference_key.type": "JOB", "resource_reference_key.id": "x"}), 400, 3)
    refused(older.get("/runs", params={"filter": '{"predicates": [1]}'}), 400, 3)
    refused(older.get("/runs", params={"filter": "["}), 400, 3)


def test_jobs(older: httpx.Client, filled: dict[str, str]):
    (listed,) = older.get("/jobs").json()["jobs"]
    assert (listed["name"], listed["mode"], "enabled" in listed, listed["max_concurrency"]) == (
        "j",
        "DISABLED",
        False,
        "2",
    )
    assert listed["trigger"]["periodic_schedule"]["interval_second"] == "60"
    assert older.get(f"/jobs/{filled['job']}").json() == listed


def test_pages_of_one_version_do_not_fit_the_other(older: httpx.Client, http: httpx.Client, filled: dict[str, str]):
    http.post("/experiments", json={"display_name": "second"})
    token = older.get("/experiments?page_size=1").json()["next_page_token"]
    assert older.get("/experiments", params={"page_size": 1, "page_token": token}).json()["experiments"]
    refused(http.get("/experiments", params={"page_token": token}), 400, 3)


def test_nothing_is_written_here(older: httpx.Client):
    for path in ("/experiments", "/runs", "/jobs", "/pipelines"):
        refused(older.post(path, json={}), 405, 12)
    refused(older.post("/workflows", json={}), 403, 7)
    refused(older.post("/visualizations/kubeflow", json={"type": "ROC_CURVE"}), 400, 9)


def test_metrics(stage: Stage, http: httpx.Client, filled: dict[str, str]):
    http.get("/nothing")
    answer = httpx.get(f"{stage.host}/metrics", trust_env=False)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'ketch_pipelines_requests_total{operation="RunService_create",code="200"} 1' in lines
    assert 'ketch_pipelines_requests_total{operation="none",code="404"} 1' in lines
    assert 'ketch_pipelines_request_seconds_bucket{operation="RunService_create",le="+Inf"} 1' in lines
    assert 'ketch_pipelines_runs{state="PENDING"} 1' in lines


def test_everything_is_described(stage: Stage, http: httpx.Client):
    document = http.get("/openapi.json").json()
    assert document == httpx.get(f"{stage.host}/pipeline/apis/v1beta1/openapi.json", trust_env=False).json()
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids)) > 60
    create = document["paths"]["/apis/v2beta1/runs"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Run"}
    run = document["components"]["schemas"]["Run"]
    assert run["additionalProperties"] is False
    assert run["properties"]["created_at"] == {"type": "string", "format": "date-time"}
    assert "CANCELING" in run["properties"]["state"]["enum"]
    upload = document["paths"]["/apis/v2beta1/pipelines/upload"]["post"]
    assert "uploadfile" in upload["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    listed = document["components"]["schemas"]["ListRecurringRunsResponse"]["properties"]
    assert "recurringRuns" in listed
    text = http.get("/openapi.json").text
    for reference in {each.partition('"')[0] for each in text.split('"$ref":"#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"]
