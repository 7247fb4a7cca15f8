"""The generated client parses every answer of every operation that it knows, and misses nothing that it expects."""

import inspect
from collections.abc import Callable
from typing import Any

import httpx
import kfp_server_api as api
import pytest
from tests.pipelines.api.test_uploads import TEXT
from tests.pipelines.api.test_wire import SPEC, a_run, spec_with

Stage = Any

UNKNOWN = {
    "DummyFilterServiceApi": "it is there to have the filter's message generated, and has no server",
}
"""Services that no server has."""


class Services:
    """Every service of the client by its class's name; notes which methods were called."""

    def __init__(self, host: str) -> None:
        client = api.ApiClient(api.Configuration(host=host))
        self.called: set[str] = set()
        self.all = {name: getattr(api, name)(client) for name in dir(api) if name.endswith("ServiceApi")}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        for service in self.all.values():
            if hasattr(service, name):
                self.called.add(name)
                return getattr(service, name)
        raise AttributeError(name)

    def methods(self) -> set[str]:
        return {
            name
            for service_name, service in self.all.items()
            if service_name not in UNKNOWN
            for name, _ in inspect.getmembers(service, inspect.ismethod)
            if not name.startswith("_") and not name.endswith("_with_http_info")
        }


@pytest.fixture
def services(stage: Stage) -> Services:
    return Services(stage.host)


def complete(model: Any, *left_out: str) -> None:
    """Every field of the model is there but those ``left_out``; so it goes for what it holds."""
    missing = {name for name in model.openapi_types if getattr(model, name) is None}
    assert missing == set(left_out), type(model).__name__


def refused(call: Callable[[], object], status: int) -> str:
    with pytest.raises(api.ApiException) as raised:
        call()
    assert raised.value.status == status
    return str(raised.value.body)


def test_every_method(services: Services, stage: Stage, tmp_path: Any, http: httpx.Client):
    _experiments(services)
    pipeline_id, version_id = _pipelines(services)
    _uploads(services, tmp_path)
    _runs(services, stage, pipeline_id, version_id)
    _recurring_runs(services)
    _others(services)
    services.pipeline_service_delete_pipeline_version(pipeline_id, version_id)
    services.pipeline_service_delete_pipeline(pipeline_id, cascade=True)
    assert services.methods() - services.called == set()


def _experiments(services: Services) -> None:
    made = services.experiment_service_create_experiment(
        api.V2beta1Experiment(display_name="e", description="d", namespace="kubeflow")
    )
    complete(made, "namespace")  # it is empty where there is one user
    assert services.experiment_service_get_experiment(made.experiment_id) == made
    listed = services.experiment_service_list_experiments(sort_by="name", page_size=1, namespace="")
    complete(listed)
    services.experiment_service_archive_experiment(made.experiment_id)
    assert services.experiment_service_get_experiment(made.experiment_id).storage_state == "ARCHIVED"
    services.experiment_service_unarchive_experiment(made.experiment_id)
    services.experiment_service_delete_experiment(made.experiment_id)
    assert "not found" in refused(lambda: services.experiment_service_get_experiment(made.experiment_id), 404)


def _pipelines(services: Services) -> tuple[str, str]:
    made = services.pipeline_service_create_pipeline_and_version(
        api.V2beta1CreatePipelineAndVersionRequest(
            pipeline=api.V2beta1Pipeline(name="p", display_name="P", description="d", tags={"a": "b"}),
            pipeline_version=api.V2beta1PipelineVersion(name="v", pipeline_spec=SPEC, tags={"x": "y"}),
        )
    )
    complete(made, "namespace", "error")
    empty = services.pipeline_service_create_pipeline(api.V2beta1Pipeline(display_name="empty"))
    assert services.pipeline_service_get_pipeline(made.pipeline_id) == made
    assert services.pipeline_service_get_pipeline_by_name("p") == made
    tagged = '{"predicates": [{"operation": "EQUALS", "key": "tags.a", "stringValue": "b"}]}'
    listed = services.pipeline_service_list_pipelines(filter=tagged)
    assert listed.pipelines == [made]
    complete(services.pipeline_service_list_pipelines(page_size=1))
    changed = services.pipeline_service_update_pipeline(made.pipeline_id, api.V2beta1Pipeline(display_name="Q"))
    assert (changed.display_name, changed.tags) == ("Q", {"a": "b"})
    version = services.pipeline_service_create_pipeline_version(
        made.pipeline_id,
        api.V2beta1PipelineVersion(
            display_name="w", description="d", pipeline_spec=SPEC, code_source_url="https://c", tags={"k": "l"},
            package_url=api.V2beta1Url(pipeline_url="https://example.com/p.yaml"),
        ),
    )  # fmt: skip
    complete(version, "error")
    get = services.pipeline_service_get_pipeline_version
    assert get(made.pipeline_id, version.pipeline_version_id) == version
    complete(services.pipeline_service_list_pipeline_versions(made.pipeline_id, page_size=1))
    renamed = services.pipeline_service_update_pipeline_version(
        made.pipeline_id, version.pipeline_version_id, api.V2beta1PipelineVersion(display_name="W", tags={})
    )
    assert (renamed.display_name, renamed.tags) == ("W", None)
    sent_back = services.pipeline_service_update_pipeline_version(
        made.pipeline_id, version.pipeline_version_id, renamed
    )
    assert sent_back == renamed
    other = api.V2beta1PipelineVersion(pipeline_spec=spec_with(sdkVersion="kfp-2.0.0"))
    refused(
        lambda: services.pipeline_service_update_pipeline_version(made.pipeline_id, version.pipeline_version_id, other),
        400,
    )
    services.pipeline_service_delete_pipeline(empty.pipeline_id)
    return made.pipeline_id, version.pipeline_version_id


def _uploads(services: Services, tmp_path: Any) -> None:
    package = tmp_path / "package.yaml"
    package.write_bytes(TEXT)
    pipeline = services.upload_pipeline(
        str(package), name="uploaded", display_name="U", description="d", tags='{"a":"b"}'
    )
    complete(pipeline, "namespace", "error")
    version = services.upload_pipeline_version(str(package), name="v2", pipelineid=pipeline.pipeline_id)
    complete(version, "description", "package_url", "code_source_url", "error", "tags")
    assert "error_message" in refused(lambda: services.upload_pipeline(str(package), name="uploaded"), 409)


def _runs(services: Services, stage: Stage, pipeline_id: str, version_id: str) -> None:
    body = api.V2beta1Run(
        display_name="r", description="d", pipeline_spec=SPEC, plugins_input={"mlflow": {"experiment": "e"}},
        runtime_config=api.V2beta1RuntimeConfig(parameters={"n": 1}, pipeline_root="s3://b/r"),
    )  # fmt: skip
    run = services.run_service_create_run(body, experiment_id="")
    complete(
        run, "pipeline_version_id", "pipeline_version_reference", "error", "run_details", "recurring_run_id",
        "plugins_output",
    )  # fmt: skip
    complete(run.runtime_config)
    reference = api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version_id)
    of_version = services.run_service_create_run(
        api.V2beta1Run(display_name="v", pipeline_version_reference=reference, runtime_config=run.runtime_config)
    )
    complete(of_version.pipeline_version_reference)
    stage.bring(run.run_id, "FAILED")
    got = services.run_service_get_run(run.run_id, experiment_id="")
    complete(got, "pipeline_version_id", "pipeline_version_reference", "recurring_run_id", "plugins_output")
    complete(got.error, "details")
    complete(got.state_history[-1])
    listed = services.run_service_list_runs(page_size=1, experiment_id=run.experiment_id, namespace="")
    complete(listed)
    assert listed.runs[0].pipeline_spec == SPEC
    services.run_service_archive_run(run.run_id)
    services.run_service_unarchive_run(run.run_id)
    services.run_service_retry_run(run.run_id)
    services.run_service_terminate_run(run.run_id)
    assert services.run_service_get_run(run.run_id).state == "CANCELING"
    services.run_service_delete_run(run.run_id)
    refused(lambda: services.run_service_get_run(run.run_id), 404)


def _recurring_runs(services: Services) -> None:
    made = services.recurring_run_service_create_recurring_run(
        api.V2beta1RecurringRun(
            display_name="r", max_concurrency=1, mode="ENABLE", pipeline_spec=SPEC, no_catchup=True,
            runtime_config=api.V2beta1RuntimeConfig(parameters={"n": 1}),
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron="0 0 0 1 1 *")),
        )
    )  # fmt: skip
    got = services.recurring_run_service_get_recurring_run(made.recurring_run_id)
    assert (got.status, got.max_concurrency, got.trigger.cron_schedule.cron) == ("ENABLED", "1", "0 0 0 1 1 *")
    listed = services.recurring_run_service_list_recurring_runs(page_size=1)
    assert [each.recurring_run_id for each in listed.recurring_runs] == [made.recurring_run_id]
    services.recurring_run_service_disable_recurring_run(made.recurring_run_id)
    assert services.recurring_run_service_get_recurring_run(made.recurring_run_id).mode == "DISABLE"
    services.recurring_run_service_enable_recurring_run(made.recurring_run_id)
    services.recurring_run_service_delete_recurring_run(made.recurring_run_id)


def _others(services: Services) -> None:
    health = services.healthz_service_get_healthz()
    complete(health, "multi_user")
    services.auth_service_authorize(namespace="", resources="VIEWERS", verb="GET")
    refused(lambda: services.auth_service_authorize(verb="BREAK"), 400)
    assert "engine alone" in refused(lambda: services.report_service_report_workflow("{}"), 403)
    refused(lambda: services.report_service_report_scheduled_workflow("{}"), 403)
    visualization = api.V2beta1Visualization(type="ROC_CURVE", source="s3://b/r")
    message = refused(lambda: services.visualization_service_create_visualization_v1("kubeflow", visualization), 400)
    assert "system.ClassificationMetrics" in message


def test_a_run_s_parameters_come_back_as_they_were(services: Services, http: httpx.Client):
    run_id = http.post("/runs", json=a_run(parameters={"n": 2**53, "s": "y", "o": [1, 2.5, {"a": None}]})).json()[
        "run_id"
    ]
    assert services.run_service_get_run(run_id).runtime_config.parameters == {
        "n": 2**53, "s": "y", "o": [1, 2.5, {"a": None}],
    }  # fmt: skip
