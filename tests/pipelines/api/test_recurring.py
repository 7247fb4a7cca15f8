"""Recurring runs through the official client, and what it does not send."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import kfp
import kfp_server_api
import pytest
import yaml
from kfp import compiler, dsl

from ketch.pipelines.schedules.reconciler import recurring_key

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
Stage = Any


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


@pytest.fixture
def experiment(client: kfp.Client) -> str:
    return client.create_experiment("schedules").experiment_id


def test_a_recurring_run_by_cron(client: kfp.Client, stage: Stage, package: str, experiment: str):
    made = client.create_recurring_run(
        experiment,
        "nightly",
        description="each night",
        start_time="2030-01-01T00:00:00Z",
        end_time="2031-01-01T01:00:00+01:00",
        cron_expression="0 0 3 * * *",
        max_concurrency=2,
        no_catchup=True,
        params={"name": "me"},
        pipeline_package_path=package,
        service_account="worker",
    )
    run = client.get_recurring_run(made.recurring_run_id)
    assert run == made
    assert (run.display_name, run.description, run.service_account) == ("nightly", "each night", "worker")
    assert (run.max_concurrency, run.no_catchup, run.mode, run.status) == ("2", True, "ENABLE", "ENABLED")
    assert run.trigger.cron_schedule.cron == "0 0 3 * * *"
    assert run.trigger.cron_schedule.start_time == datetime(2030, 1, 1, tzinfo=UTC)
    assert run.trigger.cron_schedule.end_time == datetime(2031, 1, 1, tzinfo=UTC)
    assert run.trigger.periodic_schedule is None
    assert run.runtime_config.parameters == {"name": "me"}
    assert run.pipeline_spec["pipelineInfo"] == {"name": "greeting"}
    assert run.experiment_id == experiment
    assert run.created_at == run.updated_at
    assert stage.scheduled == [recurring_key(run.recurring_run_id)]


def test_a_periodic_one_of_an_uploaded_pipeline(client: kfp.Client, package: str, experiment: str):
    pipeline = client.upload_pipeline(package, "uploaded")
    version = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions[0]
    newest = client.recurring_runs.recurring_run_service_create_recurring_run(
        recurring_run=kfp_server_api.V2beta1RecurringRun(
            experiment_id=experiment,
            display_name="newest",
            pipeline_version_reference={"pipeline_id": pipeline.pipeline_id},
            trigger={"periodic_schedule": {"interval_second": 60}},
            max_concurrency=1,
            mode="DISABLE",
            plugins_input={"tracker": {"project": "p"}},
        )
    )
    assert newest.plugins_input == {"tracker": {"project": "p"}}
    assert newest.trigger.periodic_schedule.interval_second == "60"
    assert newest.pipeline_version_reference.pipeline_id == pipeline.pipeline_id
    assert newest.pipeline_version_reference.pipeline_version_id is None
    assert (newest.mode, newest.status, newest.pipeline_spec) == ("DISABLE", "DISABLED", None)
    pinned = client.create_recurring_run(
        experiment,
        "pinned",
        interval_second=60,
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    assert pinned.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id


def test_it_is_switched_off_and_on_and_deleted(client: kfp.Client, stage: Stage, package: str, experiment: str):
    made = client.create_recurring_run(experiment, "a", interval_second=60, pipeline_package_path=package)
    identity = made.recurring_run_id
    client.disable_recurring_run(identity)
    off = client.get_recurring_run(identity)
    assert (off.mode, off.status) == ("DISABLE", "DISABLED")
    client.enable_recurring_run(identity)
    assert client.get_recurring_run(identity).mode == "ENABLE"
    client.delete_recurring_run(identity)
    with pytest.raises(kfp_server_api.ApiException) as raised:
        client.get_recurring_run(identity)
    assert raised.value.status == 404
    assert stage.scheduled == [recurring_key(identity)] * 3


def test_lists_by_pages_filters_and_experiments(client: kfp.Client, package: str, experiment: str):
    other = client.create_experiment("other").experiment_id
    for name in ("a", "b", "c"):
        client.create_recurring_run(experiment, name, interval_second=60, pipeline_package_path=package)
    client.create_recurring_run(other, "d", interval_second=60, pipeline_package_path=package)
    page = client.list_recurring_runs(page_size=3, sort_by="display_name desc")
    assert [run.display_name for run in page.recurring_runs] == ["d", "c", "b"]
    assert page.total_size == 4
    rest = client.list_recurring_runs(page_token=page.next_page_token, page_size=3, sort_by="display_name desc")
    assert [run.display_name for run in rest.recurring_runs] == ["a"]
    mine = client.list_recurring_runs(experiment_id=experiment, sort_by="created_at")
    assert {run.display_name for run in mine.recurring_runs} == {"a", "b", "c"}
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": "b"}
    found = client.list_recurring_runs(filter=json.dumps({"predicates": [predicate]}))
    assert [run.display_name for run in found.recurring_runs] == ["b"]


def test_an_archived_experiment_switches_its_recurring_runs_off(client: kfp.Client, package: str, experiment: str):
    made = client.create_recurring_run(experiment, "a", interval_second=60, pipeline_package_path=package)
    client.archive_experiment(experiment)
    assert client.get_recurring_run(made.recurring_run_id).status == "DISABLED"
    with pytest.raises(kfp_server_api.ApiException, match="unarchive it first") as raised:
        client.enable_recurring_run(made.recurring_run_id)
    assert raised.value.status == 400


def test_the_list_has_upstreams_odd_name(http: httpx.Client, client: kfp.Client, package: str, experiment: str):
    client.create_recurring_run(experiment, "a", cron_expression="@daily", pipeline_package_path=package)
    answer = http.get("/recurringruns").json()
    assert set(answer) == {"recurringRuns", "total_size"}
    assert answer["recurringRuns"][0]["max_concurrency"] == "1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_concurrency": 0}, "Max concurrency of a recurring run must be at least 1 and at most 10. Received 0"),
        ({"max_concurrency": "11"}, "Received 11"),
        ({"trigger": {"cron_schedule": {"cron": "1 * * "}}}, "Schedule cron is not a supported format("),
        ({"trigger": {"periodic_schedule": {"interval_second": "0"}}}, "Found invalid period schedule interval 0"),
        ({"trigger": {"periodic_schedule": {"interval_second": "x"}}}, "interval_second"),
        ({"trigger": {"cron_schedule": {"cron": "@daily", "start_time": "soon"}}}, "start_time"),
        ({"mode": "SOMETIMES"}, "mode"),
        ({"display_name": ""}, "display_name"),
        ({"pipeline_version_reference": {"pipeline_id": "p"}}, "exactly one of pipeline_spec"),
        ({"runtime_config": {"parameters": {"unknown": 1}}}, "not required by pipeline: unknown"),
        ({"surprise": 1}, 'unknown field "surprise"'),
    ],
)
def test_what_is_refused(http: httpx.Client, package: str, change: dict[str, Any], message: str):
    body = {
        "display_name": "a",
        "pipeline_spec": yaml.safe_load(Path(package).read_text()),
        "max_concurrency": "1",
        "mode": "ENABLE",
        "trigger": {"cron_schedule": {"cron": "@daily"}},
    }
    answer = http.post("/recurringruns", json=body | change)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_a_deletion_says_what_becomes_of_the_runs(http: httpx.Client):
    answer = http.delete("/recurringruns/nobody", params={"propagation_policy": "ALL"})
    assert (answer.status_code, "propagation_policy" in answer.json()["message"]) == (400, True)
    for policy in ("FOREGROUND", "BACKGROUND", "ORPHAN", "3", ""):
        answer = http.delete("/recurringruns/nobody", params={"propagation_policy": policy})
        assert (answer.status_code, answer.json()["code"]) == (404, 5)


def test_an_unknown_experiment_is_not_found(http: httpx.Client, package: str):
    body = {
        "display_name": "a",
        "pipeline_spec": yaml.safe_load(Path(package).read_text()),
        "max_concurrency": 1,
        "experiment_id": "nowhere",
    }
    assert http.post("/recurringruns", json=body).status_code == 404
