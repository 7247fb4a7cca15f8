"""The official client against the whole platform: runs that really run, and what it says about them."""

from pathlib import Path

import kfp
import kfp_server_api
import pytest
from kfp import compiler, dsl

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]
WAIT = 120


@dsl.component(base_image="python:3.11")
def double(number: int) -> int:
    return number * 2


@dsl.component(base_image="python:3.11")
def refuse(reason: str):
    raise ValueError(reason)


@dsl.pipeline(name="doubling")
def doubling(number: int = 1):
    double(number=double(number=number).output)


@dsl.pipeline(name="refusing")
def refusing(reason: str):
    refuse(reason=reason)


def test_a_run_is_created_waited_for_and_found(kfp_client: kfp.Client, tmp_path: Path):
    package = str(tmp_path / "doubling.yaml")
    compiler.Compiler().compile(doubling, package)
    result = kfp_client.create_run_from_pipeline_package(
        package, arguments={"number": 3}, run_name="client-run", experiment_name="client"
    )
    run = result.wait_for_run_completion(timeout=WAIT)
    assert (run.state, run.error) == ("SUCCEEDED", None)
    assert [entry.state for entry in run.state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]
    details = {task.display_name: task for task in run.run_details.task_details}
    assert {"double", "double-2"} <= details.keys()
    assert {details[name].state for name in ("double", "double-2")} == {"SUCCEEDED"}
    listed = kfp_client.list_runs(experiment_id=run.experiment_id, sort_by="created_at desc", page_size=1)
    assert [each.run_id for each in listed.runs] == [result.run_id]


def test_a_failed_run_tells_the_steps_own_error(kfp_client: kfp.Client):
    run_id = kfp_client.create_run_from_pipeline_func(refusing, arguments={"reason": "too cold"}).run_id
    run = kfp_client.wait_for_run_completion(run_id, timeout=WAIT, sleep_duration=1)
    assert run.state == "FAILED"
    failed = [task for task in run.run_details.task_details if task.display_name == "refuse"]
    assert "too cold" in failed[0].error.message


def test_an_uploaded_pipeline_runs_and_its_run_is_put_away(kfp_client: kfp.Client):
    pipeline = kfp_client.upload_pipeline_from_pipeline_func(doubling, pipeline_name="client-pipeline")
    experiment = kfp_client.create_experiment("client-uploads")
    version = kfp_client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions[0]
    run = kfp_client.run_pipeline(
        experiment.experiment_id,
        "uploaded",
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
        params={"number": 5},
    )
    assert kfp_client.wait_for_run_completion(run.run_id, timeout=WAIT, sleep_duration=1).state == "SUCCEEDED"
    kfp_client.archive_run(run.run_id)
    assert kfp_client.get_run(run.run_id).storage_state == "ARCHIVED"
    kfp_client.delete_run(run.run_id)
    with pytest.raises(kfp_server_api.ApiException, match="not found"):
        kfp_client.get_run(run.run_id)
