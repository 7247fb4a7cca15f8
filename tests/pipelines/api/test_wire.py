"""What goes over the wire: marshalling rules, every error's form, who may call."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

Stage = Any

SPEC: Mapping[str, Any] = {
    "pipelineInfo": {"name": "p"},
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.3",
    "root": {
        "dag": {"tasks": {"t": {"componentRef": {"name": "comp-t"}, "taskInfo": {"name": "t"}}}},
        "inputDefinitions": {
            "parameters": {
                "n": {"parameterType": "NUMBER_INTEGER"},
                "s": {"parameterType": "STRING", "defaultValue": "x", "literals": ["x", "y"]},
                "o": {"parameterType": "LIST", "isOptional": True},
                "d": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 1.5},
            }
        },
    },
    "components": {"comp-t": {"executorLabel": "exec-t"}},
    "deploymentSpec": {"executors": {"exec-t": {"container": {"image": "busybox", "command": ["true"]}}}},
}


def a_run(**changes: Any) -> dict[str, Any]:
    parameters = changes.pop("parameters", {"n": 1})
    return {"display_name": "r", "pipeline_spec": SPEC, "runtime_config": {"parameters": parameters}} | changes


def nested(levels: int) -> dict[str, Any]:
    return {"x": nested(levels - 1)} if levels > 1 else {}


def spec_with(**changes: Any) -> dict[str, Any]:
    return {**SPEC, **changes}


def refused(answer: httpx.Response, status: int, code: int) -> str:
    body = answer.json()
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": body["message"]}
    assert (answer.status_code, body) == (status, {"code": code, "message": body["message"], "details": [detail]})
    return body["message"]


def test_zero_values_are_left_out_and_unset_times_are_1970(http: httpx.Client):
    run = http.post("/runs", json=a_run()).json()
    assert run.keys() == {
        "experiment_id", "run_id", "display_name", "storage_state", "pipeline_spec", "runtime_config",
        "service_account", "created_at", "scheduled_at", "finished_at", "state", "state_history",
    }  # fmt: skip
    assert run["finished_at"] == "1970-01-01T00:00:00Z"
    assert len(run["created_at"]) == len("2026-01-01T00:00:00Z")
    assert run["pipeline_spec"] == SPEC


def test_names_may_be_in_camel_case_and_enums_numbers(http: httpx.Client):
    body = {"displayName": "r", "pipelineSpec": SPEC, "runtimeConfig": {"parameters": {"n": 2.0}}, "storageState": 1}
    run = http.post("/runs", json=body).json()
    assert (run["display_name"], run["runtime_config"]["parameters"]) == ("r", {"n": 2})
    assert '"n":2}' in http.get(f"/runs/{run['run_id']}").text


def test_platform_settings_travel_beside_the_specification(http: httpx.Client):
    both = {"pipeline_spec": SPEC, "platform_spec": {"platforms": {"kubernetes": {}}}}
    run = http.post("/runs", json=a_run(pipeline_spec=both)).json()
    assert http.get(f"/runs/{run['run_id']}").json()["pipeline_spec"] == both


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("{", "not valid JSON", id="no JSON"),
        pytest.param([], "expected an object", id="a list"),
        pytest.param(a_run(colour="red"), 'unknown field "colour" in Run', id="unknown field"),
        pytest.param(a_run(runtime_config={"x": 1}), 'unknown field "runtime_config.x"', id="unknown inner field"),
        pytest.param(a_run(description=5), 'field "description": expected a text', id="wrong type"),
        pytest.param(a_run(state="GREEN"), "'GREEN' is none of", id="unknown enum"),
        pytest.param(a_run(created_at="today"), 'field "created_at": expected a time', id="no time"),
        pytest.param(a_run(displayName="again"), "given twice", id="both spellings"),
        pytest.param(a_run(display_name=""), "display_name", id="no name"),
        pytest.param(a_run(display_name="x" * 256), "display_name", id="long name"),
        pytest.param(a_run(pipeline_spec=None), "exactly one of pipeline_spec", id="no pipeline"),
        pytest.param(a_run(pipeline_version_id="v"), "exactly one of pipeline_spec", id="two pipelines"),
        pytest.param(a_run(plugins_input={"mlflow": 1}), "plugins_input.mlflow: expected an object", id="no object"),
        pytest.param(a_run(plugins_input={str(n): {} for n in range(17)}), "at most 16 plugins", id="many plugins"),
        pytest.param(a_run(plugins_input={"a": {"x": "y" * 65_536}}), "at most 65536", id="large plugin"),
        pytest.param(
            a_run(plugins_input={str(n): {"x": "y" * 60_000} for n in range(5)}), "at most 262144", id="large plugins"
        ),
        pytest.param(a_run(plugins_input={"a": nested(11)}), "10 levels", id="deep plugin"),
        pytest.param(a_run(pipeline_spec=spec_with(schemaVersion="2.0.0")), "schemaVersion", id="schema version"),
        pytest.param(a_run(pipeline_spec=spec_with(pipelineInfo={})), "pipelineInfo", id="no pipeline name"),
        pytest.param(a_run(pipeline_spec=spec_with(root={})), "root", id="no root"),
        pytest.param(a_run(pipeline_spec={"kind": "Workflow"}), "compile the pipeline with kfp 2", id="version 1"),
        pytest.param(a_run(parameters={}), "parameter n is not optional", id="missing parameter"),
        pytest.param(a_run(parameters={"n": 1, "z": 1}), "not required by pipeline: z", id="surplus parameter"),
        pytest.param(a_run(parameters={"n": "1"}), "n should be of type NUMBER_INTEGER", id="text for a number"),
        pytest.param(a_run(parameters={"n": 1.5}), "n should be of type NUMBER_INTEGER", id="fraction for an integer"),
        pytest.param(a_run(parameters={"n": True}), "n should be of type NUMBER_INTEGER", id="boolean for a number"),
        pytest.param(a_run(parameters={"n": 1, "s": "z"}), "must be one of 'x', 'y'", id="none of the literals"),
        pytest.param(a_run(parameters={"n": 1, "o": {}}), "o should be of type LIST", id="object for a list"),
        pytest.param(
            a_run(runtime_config={"parameters": {"n": 1}, "pipeline_root": "somewhere"}), "pipeline_root", id="root"
        ),
    ],
)
def test_a_bad_run_is_refused_with_the_field_at_fault(http: httpx.Client, stage: Stage, body: Any, message: str):
    answer = http.post("/runs", content=body if isinstance(body, str) else json.dumps(body))
    assert message in refused(answer, 400, 3)
    assert http.get("/runs").json() == {}
    assert stage.enqueued == []


def test_what_plugins_are_told_is_given_back(http: httpx.Client):
    told = {"mlflow": {"experiment": "e", "deep": nested(9)}}
    run = http.post("/runs", json=a_run(plugins_input=told)).json()
    assert http.get(f"/runs/{run['run_id']}").json()["plugins_input"] == told


def test_optional_parameters_may_be_left_out_or_null(http: httpx.Client):
    assert http.post("/runs", json=a_run(parameters={"n": 1, "o": None, "d": 2})).status_code == 200


def test_macros_are_expanded(http: httpx.Client):
    spec = spec_with(root={**SPEC["root"], "inputDefinitions": {"parameters": {"s": {"parameterType": "STRING"}}}})
    run = http.post("/runs", json=a_run(pipeline_spec=spec, parameters={"s": "run-[[RunUUID]]"})).json()
    assert run["runtime_config"]["parameters"] == {"s": f"run-{run['run_id']}"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/runs/none", 404, 5),
        ("DELETE", "/runs/none", 404, 5),
        ("POST", "/runs/none:terminate", 404, 5),
        ("POST", "/runs/none:retry", 404, 5),
        ("POST", "/runs/none:archive", 404, 5),
        ("GET", "/experiments/none", 404, 5),
        ("POST", "/experiments/none:archive", 404, 5),
        ("GET", "/pipelines/none", 404, 5),
        ("GET", "/pipelines/names/none", 404, 5),
        ("DELETE", "/pipelines/none", 404, 5),
        ("GET", "/pipelines/none/versions/none", 404, 5),
        ("GET", "/nothing", 404, 5),
        ("PUT", "/runs", 405, 12),
        ("GET", "/runs/x/nodes/y/artifacts/z:read", 404, 5),
    ],
)
def test_what_is_not_there(http: httpx.Client, method: str, path: str, status: int, code: int):
    assert refused(http.request(method, path), status, code)


def test_names_are_taken_once(http: httpx.Client):
    assert "Default already exists" in refused(http.post("/experiments", json={"display_name": "Default"}), 409, 6)
    both = {"pipeline": {"name": "p"}, "pipeline_version": {"pipeline_spec": SPEC}}
    pipeline = http.post("/pipelines/create", json=both).json()
    refused(http.post("/pipelines", json={"display_name": "p"}), 409, 6)
    versions = f"/pipelines/{pipeline['pipeline_id']}/versions"
    refused(http.post(versions, json={"name": "p", "pipeline_spec": SPEC}), 409, 6)
    assert http.post(versions, json={"name": "q", "pipeline_spec": SPEC}).status_code == 200


def test_the_default_experiment_stays(http: httpx.Client):
    default = http.get("/experiments").json()["experiments"][0]
    refused(http.delete(f"/experiments/{default['experiment_id']}"), 400, 9)


def test_a_pipeline_is_changed_and_deleted_with_its_versions(http: httpx.Client):
    pipeline = http.post("/pipelines", json={"name": "p", "tags": {"team": "a"}}).json()
    path = f"/pipelines/{pipeline['pipeline_id']}"
    version = http.post(f"{path}/versions", json={"name": "v", "pipeline_spec": SPEC}).json()
    assert http.patch(path, json={"display_name": "P"}).json()["tags"] == {"team": "a"}
    assert "tags" not in http.patch(path, json={"tags": {}}).json()
    refused(http.patch(path, json={"tags": {"a.b": "c"}}), 400, 3)
    changed = http.patch(f"{path}/versions/{version['pipeline_version_id']}", json={"tags": {"x": "y"}}).json()
    assert (changed["name"], changed["tags"]) == ("v", {"x": "y"})
    refused(http.delete(path), 400, 9)
    assert http.delete(f"{path}?cascade=true").json() == {}
    refused(http.get(f"{path}/versions/{version['pipeline_version_id']}"), 404, 5)


def test_a_run_of_the_newest_version(http: httpx.Client):
    pipeline_id = http.post("/pipelines", json={"name": "p"}).json()["pipeline_id"]
    body = {"display_name": "r", "pipeline_version_reference": {"pipeline_id": pipeline_id}}
    body |= {"runtime_config": {"parameters": {"n": 1}}}
    assert "has no version" in refused(http.post("/runs", json=body), 404, 5)
    for name in ("v1", "v2"):
        version = http.post(f"/pipelines/{pipeline_id}/versions", json={"name": name, "pipeline_spec": SPEC}).json()
    run = http.post("/runs", json=body).json()
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert "pipeline_spec" not in run


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:8080"}, 200),
        ({"host": "platform.localhost"}, 200),
        ({"host": "[::1]:8080"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"host": "localhost", "origin": "http://localhost:5173"}, 200),
        ({"host": "localhost", "origin": "https://evil.example"}, 403),
        ({"host": "localhost", "origin": "null"}, 403),
        ({"host": "localhost", "origin": "http://model.user.localhost:8080"}, 403),
    ],
)
def test_only_this_machine_may_ask(http: httpx.Client, headers: Mapping[str, str], status: int):
    answer = http.get("/healthz", headers=headers)
    assert answer.status_code == status
    if status == 403:
        refused(answer, 403, 7)


def test_health_and_authorisation(stage: Stage):
    for path in ("/apis/v1beta1", "/apis/v2beta1", "/pipeline/apis/v2beta1"):
        health = httpx.get(f"{stage.host}{path}/healthz", trust_env=False).json()
        assert health == {"tag_name": "1.2.3", "pipeline_store": "database"}
        query = {"namespace": "", "resources": "VIEWERS", "verb": "GET"}
        assert httpx.get(f"{stage.host}{path}/auth", params=query, trust_env=False).json() == {}
