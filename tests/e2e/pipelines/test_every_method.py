"""Every public method of the official clients, every command of the official command line, on a running platform."""

import inspect
import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kfp
import pytest
from click.testing import CliRunner
from kfp import compiler, dsl
from kfp.cli.cli import cli
from kfp.kubeflow_client import PipelinesClient
from kfp.kubeflow_client.backends.kubernetes.types import KubernetesBackendConfig
from tests.e2e.platforms import Platform

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
WAIT = 120
CONFIRM = "y\n"


@dsl.component(base_image="python:3.11")
def shout(word: str) -> str:
    return word.upper()


@dsl.component(base_image="python:3.11")
def linger():
    import time  # noqa: PLC0415  # a component is alone

    time.sleep(600)


@dsl.pipeline(name="shouting")
def shouting(word: str = "hello"):
    shout(word=word)


@dsl.pipeline(name="lingering")
def lingering():
    linger()


class Recorded:
    """A client that notes which of its public methods were called."""

    def __init__(self, client: Any) -> None:
        self.client, self.called = client, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self.client, name)

    def left(self) -> set[str]:
        methods = inspect.getmembers(self.client, inspect.ismethod)
        return {name for name, _ in methods if not name.startswith("_")} - self.called


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("package") / "shouting.yaml"
    compiler.Compiler().compile(shouting, str(path))
    return str(path)


@pytest.fixture
def name() -> str:
    """A name that nothing else on the shared platform has."""
    return f"every-{uuid.uuid4().hex[:8]}"


def not_found(call: Callable[[], object]) -> None:
    with pytest.raises(kfp.client.client.kfp_server_api.ApiException, match="not found"):
        call()


def test_the_client(kfp_client: kfp.Client, package: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"), raising=False)
    monkeypatch.setattr(kfp.Client, "LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"), raising=False)
    client = Recorded(kfp_client)
    assert client.get_kfp_healthz().pipeline_store == "database"
    assert client.get_user_namespace() == ""
    experiment = _experiments(client, name)
    pipeline_id, version_id = _pipelines(client, package, name)
    _runs(client, package, experiment, pipeline_id, version_id)
    _recurring_runs(client, package, experiment, pipeline_id, version_id)
    for version in client.list_pipeline_versions(pipeline_id).pipeline_versions:
        client.delete_pipeline_version(pipeline_id, version.pipeline_version_id)
    client.delete_pipeline(pipeline_id)
    not_found(lambda: client.get_pipeline(pipeline_id))
    client.delete_experiment(experiment)
    not_found(lambda: client.get_experiment(experiment_id=experiment))
    assert client.left() == {"set_user_namespace"}  # it writes to the user's home and never asks a server


def _experiments(client: Recorded, name: str) -> str:
    experiment = client.create_experiment(name, description="all of it")
    assert client.create_experiment(name).experiment_id == experiment.experiment_id
    assert client.get_experiment(experiment_name=name).experiment_id == experiment.experiment_id
    client.archive_experiment(experiment.experiment_id)
    assert client.get_experiment(experiment_id=experiment.experiment_id).storage_state == "ARCHIVED"
    client.unarchive_experiment(experiment.experiment_id)
    of_name = json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})
    listed = client.list_experiments(page_size=5, sort_by="created_at desc", filter=of_name)
    assert [each.experiment_id for each in listed.experiments] == [experiment.experiment_id]
    return experiment.experiment_id


def _pipelines(client: Recorded, package: str, name: str) -> tuple[str, str]:
    pipeline = client.upload_pipeline(package, pipeline_name=name, description="d")
    assert client.get_pipeline_id(name) == pipeline.pipeline_id
    assert client.get_pipeline(pipeline.pipeline_id).description == "d"
    second = client.upload_pipeline_version(package, "second", pipeline_name=name)
    client.upload_pipeline_version_from_pipeline_func(shouting, "third", pipeline_id=pipeline.pipeline_id)
    versions = client.list_pipeline_versions(pipeline.pipeline_id, sort_by="created_at").pipeline_versions
    assert [version.display_name for version in versions] == [name, "second", "third"]
    got = client.get_pipeline_version(pipeline.pipeline_id, second.pipeline_version_id)
    assert got.pipeline_spec["pipelineInfo"]["name"] == "shouting"
    other = client.upload_pipeline_from_pipeline_func(shouting, pipeline_name=f"{name}-of-a-function")
    listed = client.list_pipelines(page_size=2, sort_by="created_at desc").pipelines
    assert [each.pipeline_id for each in listed] == [other.pipeline_id, pipeline.pipeline_id]
    (version,) = client.list_pipeline_versions(other.pipeline_id).pipeline_versions
    client.delete_pipeline_version(other.pipeline_id, version.pipeline_version_id)
    client.delete_pipeline(other.pipeline_id)
    return pipeline.pipeline_id, second.pipeline_version_id


def _runs(client: Recorded, package: str, experiment: str, pipeline_id: str, version_id: str) -> None:
    run = client.run_pipeline(
        experiment, "of a version", params={"word": "hi"}, pipeline_id=pipeline_id, version_id=version_id
    )
    from_package = client.create_run_from_pipeline_package(package, arguments={"word": "ho"}, enable_caching=False)
    for run_id in (run.run_id, from_package.run_id):
        assert client.wait_for_run_completion(run_id, timeout=WAIT, sleep_duration=1).state == "SUCCEEDED"
    listed = client.list_runs(experiment_id=experiment, sort_by="created_at desc").runs
    assert [each.display_name for each in listed] == ["of a version"]
    long = client.create_run_from_pipeline_func(lingering, arguments={}).run_id
    client.terminate_run(long)
    assert client.wait_for_run_completion(long, timeout=WAIT, sleep_duration=1).state == "FAILED"
    client.archive_run(run.run_id)
    assert client.get_run(run.run_id).storage_state == "ARCHIVED"
    client.unarchive_run(run.run_id)
    for run_id in (run.run_id, from_package.run_id, long):
        client.delete_run(run_id)
    not_found(lambda: client.get_run(run.run_id))


def _recurring_runs(client: Recorded, package: str, experiment: str, pipeline_id: str, version_id: str) -> None:
    rarely = client.create_recurring_run(
        experiment, "rarely", cron_expression="0 0 0 1 1 *", pipeline_package_path=package, params={"word": "hm"}
    ).recurring_run_id
    daily = client.create_recurring_run(
        experiment,
        "daily",
        interval_second=86_400,
        enabled=False,
        pipeline_id=pipeline_id,
        version_id=version_id,
    ).recurring_run_id
    assert client.get_recurring_run(recurring_run_id=daily).status == "DISABLED"
    listed = client.list_recurring_runs(experiment_id=experiment, sort_by="created_at").recurring_runs
    assert [each.recurring_run_id for each in listed] == [rarely, daily]
    for enable, disable in (
        (client.enable_recurring_run, client.disable_recurring_run),
        (client.enable_job, client.disable_job),
    ):
        disable(rarely)
        assert client.get_recurring_run(recurring_run_id=rarely).status == "DISABLED"
        enable(rarely)
        assert client.get_recurring_run(recurring_run_id=rarely).status == "ENABLED"
    client.delete_recurring_run(rarely)
    client.delete_job(daily)
    not_found(lambda: client.get_recurring_run(recurring_run_id=rarely))


def test_the_kubeflow_client(platform: Platform, package: str, name: str):
    config = KubernetesBackendConfig(base_url=platform.address, namespace="kubeflow")
    client = Recorded(PipelinesClient(config))
    first = client.upload_pipeline(shouting, name=name, version="one", description="d")
    assert first.display_name == "one"  # given by a change of the version that the upload made
    client.upload_pipeline(package, name=name, version="two")
    assert client.get_pipeline(name).pipeline_id == first.pipeline_id
    assert client.get_pipeline_version(name, "two").pipeline_id == first.pipeline_id
    assert [each.display_name for each in client.list_pipeline_versions(name).pipeline_versions] == ["one", "two"]
    assert len(client.list_pipelines(page_size=1).pipelines) == 1
    assert client.create_experiment(name, description="d").experiment_id == client.get_experiment(name).experiment_id
    assert client.list_experiments(page_size=200).experiments
    runs = [
        client.run(name, params={"word": "a"}, experiment=name, version="one"),
        client.run(package, params={"word": "b"}, experiment=name),
        client.run(shouting, name="of a function", experiment=name),
        client.run(client.get_pipeline_version(name, "two"), experiment=name),
    ]
    seen: list[str] = []
    for run in runs:
        ended = client.wait_for_run_status(
            run, timeout=WAIT, polling_interval=1, callbacks=[lambda run: seen.append(run.state)]
        )
        assert client.get_run(ended.run_id).state == "SUCCEEDED"
    assert seen == ["SUCCEEDED"] * 4
    assert len(client.list_runs(experiment=name, status="succeeded").runs) == 4
    assert len(client.list_runs(experiment=name, pipeline=name).runs) == 2
    client.delete_pipeline(name, version="one")
    client.delete_pipeline(name, force=True)
    client.delete_experiment(name)
    with pytest.raises(ValueError, match="not found"):
        client.get_pipeline(name)
    assert client.left() == set()


def printed(output: str) -> Any:
    """The JSON that a command has printed, after whatever else it said."""
    for start in (
        index for index, mark in enumerate(output) if mark in "[{" and output[index - 1 : index] in ("", "\n")
    ):
        try:
            return json.JSONDecoder().raw_decode(output[start:])[0]
        except json.JSONDecodeError:
            continue
    return output


def test_the_command_line(platform: Platform, package: str, name: str):
    used: set[str] = set()

    def kfp_command(group: str, command: str, *arguments: str) -> Any:
        used.add(f"{group} {command}")
        line = ["--endpoint", platform.address, "--output", "json", group, command, *arguments]
        result = CliRunner().invoke(cli, line, obj={}, input=CONFIRM, catch_exceptions=False)
        assert result.exit_code == 0, f"{line}: {result.output}"
        return printed(result.output)

    experiment = kfp_command("experiment", "create", name)["experiment_id"]
    assert kfp_command("experiment", "get", experiment)["display_name"] == name
    assert name in {each["display_name"] for each in kfp_command("experiment", "list", "--max-size", "200")}
    kfp_command("experiment", "archive", "--experiment-id", experiment)
    kfp_command("experiment", "unarchive", "--experiment-name", name)
    pipeline = kfp_command("pipeline", "create", "--pipeline-name", name, package)["pipeline_id"]
    assert kfp_command("pipeline", "get", pipeline)["display_name"] == name
    second = kfp_command("pipeline", "create-version", package, "-v", "second", "-p", pipeline)["pipeline_version_id"]
    assert kfp_command("pipeline", "get-version", pipeline, second)["display_name"] == "second"
    versions = kfp_command("pipeline", "list-versions", pipeline)
    assert {each["display_name"] for each in versions} == {name, "second"}
    assert name in {each["display_name"] for each in kfp_command("pipeline", "list", "--sort-by", "created_at desc")}
    run = kfp_command("run", "create", "-e", name, "-r", name, "-f", package, "--watch", "word=cli")["run_id"]
    kfp_command("run", "create", "-e", name, "-r", "of a pipeline", "-n", name, "-v", second, "word=cli")
    assert {each["display_name"] for each in kfp_command("run", "list", "-e", experiment)} == {name, "of a pipeline"}
    assert kfp_command("run", "get", run)["state"] == "SUCCEEDED"
    kfp_command("run", "archive", run)
    kfp_command("run", "unarchive", run)
    kfp_command("run", "delete", run)
    options = {"experiment-id": experiment, "job-name": name, "cron-expression": "0 0 0 1 1 *"}
    _recurring_run_commands(kfp_command, {**options, "pipeline-package-path": package})
    kfp_command("pipeline", "delete-version", pipeline, second)
    for version in kfp_command("pipeline", "list-versions", pipeline):
        kfp_command("pipeline", "delete-version", pipeline, version["pipeline_version_id"])
    kfp_command("pipeline", "delete", pipeline)
    kfp_command("experiment", "delete", experiment)
    served = ("run", "pipeline", "experiment", "recurring-run")
    known = {f"{group} {command}" for group in served for command in cli.commands[group].commands}
    assert known - used == set()


def _recurring_run_commands(kfp_command: Callable[..., Any], options: Mapping[str, str]) -> None:
    flags = [word for option, value in options.items() for word in (f"--{option}", value)]
    made = kfp_command("recurring-run", "create", "--enabled", *flags)["recurring_run_id"]
    assert kfp_command("recurring-run", "get", made)["status"] == "ENABLED"
    kfp_command("recurring-run", "disable", made)
    assert kfp_command("recurring-run", "get", made)["status"] == "DISABLED"
    kfp_command("recurring-run", "enable", made)
    assert made in {each["recurring_run_id"] for each in kfp_command("recurring-run", "list")}
    kfp_command("recurring-run", "delete", made)
