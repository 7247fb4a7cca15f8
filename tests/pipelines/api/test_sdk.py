"""Every call of the official SDK that needs no running step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import pytest
from kfp import compiler, dsl

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
Stage = Any
EPOCH_YEAR = 1970


@dsl.component(base_image="python:3.11")
def greet(name: str, times: int = 1) -> str:
    return name * times


@dsl.pipeline(name="greeting")
def greeting(name: str = "you", times: int = 2):
    greet(name=name, times=times)


@pytest.fixture
def client(stage: Stage) -> kfp.Client:
    return kfp.Client(host=stage.host)


@pytest.fixture
def package(tmp_path: Path) -> str:
    path = tmp_path / "greeting.yaml"
    compiler.Compiler().compile(greeting, str(path))
    return str(path)


def status_of(call: Callable[[], object]) -> int:
    with pytest.raises(kfp_server_api.ApiException) as raised:
        call()
    return raised.value.status


def test_health_and_the_ways_to_the_server(stage: Stage):
    for host in (stage.host, f"{stage.host}/pipeline"):
        health = kfp.Client(host=host).get_kfp_healthz()
        assert (health.multi_user, health.pipeline_store) == (None, "database")


def test_a_run_from_a_function(client: kfp.Client, stage: Stage):
    result = client.create_run_from_pipeline_func(greeting, arguments={"name": "me", "times": 3}, run_name="first")
    run = client.get_run(result.run_id)
    assert (run.display_name, run.state, run.storage_state) == ("first", "PENDING", "AVAILABLE")
    assert run.runtime_config.parameters == {"name": "me", "times": 3}
    assert run.pipeline_spec["pipelineInfo"] == {"name": "greeting"}
    assert [entry.state for entry in run.state_history] == ["PENDING"]
    assert run.finished_at.year == EPOCH_YEAR
    assert client.get_experiment(experiment_id=run.experiment_id).display_name == "Default"
    assert [key.name for key in stage.enqueued] == [run.run_id]


def test_a_run_from_a_package_in_an_experiment_is_waited_for(client: kfp.Client, stage: Stage, package: str):
    result = client.create_run_from_pipeline_package(
        package, experiment_name="trials", pipeline_root="s3://mine/root", service_account="me", enable_caching=False
    )
    stage.bring(result.run_id, "SUCCEEDED")
    run = client.wait_for_run_completion(result.run_id, timeout=10, sleep_duration=1)
    assert (run.state, run.service_account, run.runtime_config.pipeline_root) == ("SUCCEEDED", "me", "s3://mine/root")
    experiment = client.get_experiment(experiment_name="trials")
    assert experiment.last_run_created_at == run.created_at
    assert [each.run_id for each in client.list_runs(experiment_id=experiment.experiment_id).runs] == [run.run_id]


def test_a_failed_run_tells_why(client: kfp.Client, stage: Stage):
    run_id = client.create_run_from_pipeline_func(greeting).run_id
    stage.bring(run_id, "FAILED")
    run = client.wait_for_run_completion(run_id, timeout=10)
    assert (run.state, run.error.message) == ("FAILED", "broken")
    assert run.finished_at.year > EPOCH_YEAR


def test_runs_are_archived_terminated_retried_and_deleted(client: kfp.Client, stage: Stage):
    run_id = client.create_run_from_pipeline_func(greeting).run_id
    client.archive_run(run_id)
    assert client.get_run(run_id).storage_state == "ARCHIVED"
    client.unarchive_run(run_id)
    assert client.get_run(run_id).storage_state == "AVAILABLE"
    assert status_of(lambda: client.runs.run_service_retry_run(run_id)) == 400
    client.terminate_run(run_id)
    assert client.get_run(run_id).state == "CANCELING"
    assert status_of(lambda: client.terminate_run(run_id)) == 400
    stage.bring(run_id, "FAILED")
    client.runs.run_service_retry_run(run_id)
    run = client.get_run(run_id)
    assert [entry.state for entry in run.state_history] == ["PENDING", "CANCELING", "FAILED", "PENDING"]
    assert (run.error, run.finished_at.year) == (None, EPOCH_YEAR)
    client.delete_run(run_id)
    assert status_of(lambda: client.get_run(run_id)) == 404
    assert len(stage.enqueued) == 4


def test_experiments(client: kfp.Client):
    first = client.create_experiment("first", description="one")
    assert client.create_experiment("first").experiment_id == first.experiment_id
    client.create_experiment("second")
    listed = client.list_experiments(sort_by="name desc", page_size=2)
    assert [each.display_name for each in listed.experiments] == ["second", "first"]
    assert (listed.total_size, bool(listed.next_page_token)) == (3, True)
    rest = client.list_experiments(sort_by="name desc", page_size=2, page_token=listed.next_page_token)
    assert ([each.display_name for each in rest.experiments], rest.next_page_token) == (["Default"], None)
    run_id = client.create_run_from_pipeline_func(greeting, experiment_name="first").run_id
    client.archive_experiment(first.experiment_id)
    assert client.get_run(run_id).storage_state == "ARCHIVED"
    assert status_of(lambda: client.unarchive_run(run_id)) == 400
    client.unarchive_experiment(first.experiment_id)
    client.unarchive_run(run_id)
    client.delete_experiment(first.experiment_id)
    assert client.get_run(run_id).experiment_id == first.experiment_id
    with pytest.raises(ValueError, match="No experiment"):
        client.get_experiment(experiment_name="first")


def test_pipelines_and_versions(client: kfp.Client, package: str):
    pipeline = client.upload_pipeline(package, pipeline_name="p", description="d")
    assert client.get_pipeline_id("p") == pipeline.pipeline_id
    second = client.upload_pipeline_version(package, "v2", pipeline_id=pipeline.pipeline_id)
    third = client.upload_pipeline_version_from_pipeline_func(greeting, "v3", pipeline_name="p")
    versions = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    assert [version.display_name for version in versions] == ["p", "v2", "v3"]
    got = client.get_pipeline_version(pipeline.pipeline_id, second.pipeline_version_id)
    assert got.pipeline_spec["pipelineInfo"]["name"] == "greeting"
    assert status_of(lambda: client.delete_pipeline(pipeline.pipeline_id)) == 400
    for version in versions:
        client.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
    client.delete_pipeline(pipeline.pipeline_id)
    assert status_of(lambda: client.get_pipeline(pipeline.pipeline_id)) == 404
    assert third.pipeline_id == pipeline.pipeline_id
    assert client.list_pipelines().pipelines is None


def test_a_run_of_an_uploaded_pipeline(client: kfp.Client, package: str):
    pipeline = client.upload_pipeline_from_pipeline_func(greeting, pipeline_name="p")
    newest = client.upload_pipeline_version(package, "v2", pipeline_id=pipeline.pipeline_id)
    experiment = client.create_experiment("e")
    run = client.run_pipeline(
        experiment.experiment_id, "job", pipeline_id=pipeline.pipeline_id, version_id=newest.pipeline_version_id
    )
    reference = client.get_run(run.run_id).pipeline_version_reference
    assert (reference.pipeline_id, reference.pipeline_version_id) == (pipeline.pipeline_id, newest.pipeline_version_id)


def test_lists_of_runs_are_filtered(client: kfp.Client):
    for name in ("alpha", "beta", "gamma"):
        client.create_run_from_pipeline_func(greeting, run_name=name)

    def names(*predicates: dict[str, Any]) -> list[str]:
        text = json.dumps({"predicates": list(predicates)})
        return [run.display_name for run in client.list_runs(filter=text).runs or []]

    assert names({"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": "ET"}) == ["beta"]
    assert names({"operation": 8, "key": "name", "string_values": {"values": ["alpha", "gamma"]}}) == ["alpha", "gamma"]
    assert names({"operation": "GREATER_THAN", "key": "created_at", "timestamp_value": "2100-01-01T00:00:00Z"}) == []
    assert len(names({"operation": 2, "key": "storage_state", "string_value": "ARCHIVED"})) == 3
