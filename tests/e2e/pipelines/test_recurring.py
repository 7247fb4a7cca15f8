"""Recurring runs on a running platform: made on time, one after the other, through kills."""

import os
import signal
from itertools import pairwise

import kfp
import pytest
from kfp import compiler, dsl
from tests.e2e.platforms import Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def say(text: str) -> str:
    return text


@dsl.pipeline(name="said-again")
def said_again(text: str):
    say(text=text).set_caching_options(False)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("recurring") / "said.yaml")
    compiler.Compiler().compile(said_again, path)
    return path


def runs_of(client: kfp.Client, experiment: str, state: str = "") -> list:
    """The runs of an experiment, oldest first."""
    found = client.list_runs(experiment_id=experiment, sort_by="scheduled_at", page_size=100).runs or []
    return [run for run in found if state in ("", run.state)]


def test_a_schedule_runs_again_and_again_until_it_is_disabled(kfp_client: kfp.Client, package: str):
    experiment = kfp_client.create_experiment("recurring").experiment_id
    made = kfp_client.create_recurring_run(
        experiment,
        "each second",
        cron_expression="* * * * * *",
        max_concurrency=2,
        params={"text": "[[Index]] of [[ScheduledTime]]"},
        pipeline_package_path=package,
    )
    done = eventually(lambda: len(found := runs_of(kfp_client, experiment, "SUCCEEDED")) >= 3 and found)
    kfp_client.disable_recurring_run(made.recurring_run_id)
    assert {run.recurring_run_id for run in done} == {made.recurring_run_id}
    assert len({run.scheduled_at for run in done}) == len(done)
    indices = [run.display_name.split("-")[-2] for run in done]
    assert sorted(indices, key=int) == [str(number + 1) for number in range(len(indices))]
    parameter = done[0].runtime_config.parameters["text"]
    assert parameter == f"1 of {done[0].scheduled_at:%Y%m%d%H%M%S}"
    count = len(runs_of(kfp_client, experiment))
    eventually(lambda: all(run.state == "SUCCEEDED" for run in runs_of(kfp_client, experiment)))
    assert len(runs_of(kfp_client, experiment)) == count
    listed = kfp_client.list_recurring_runs(experiment_id=experiment).recurring_runs
    assert [(run.display_name, run.status) for run in listed] == [("each second", "DISABLED")]
    kfp_client.delete_recurring_run(made.recurring_run_id)
    assert len(runs_of(kfp_client, experiment)) == count


def test_no_run_twice_and_none_forgotten_through_kills(own_platform: Platform, package: str):
    client = kfp.Client(host=own_platform.address)
    experiment = client.create_experiment("killed").experiment_id
    made = client.create_recurring_run(
        experiment, "steady", interval_second=1, max_concurrency=10, params={"text": "x"}, pipeline_package_path=package
    )
    for count in (2, 4):
        eventually(lambda count=count: len(quietly(client, experiment)) >= count)
        os.kill(own_platform.pid("control-plane"), signal.SIGKILL)
    runs = eventually(lambda: len(found := quietly(client, experiment)) >= 8 and found)
    client.disable_recurring_run(made.recurring_run_id)
    times = sorted(run.scheduled_at for run in runs)
    assert len(set(times)) == len(times)
    assert {(later - earlier).total_seconds() for earlier, later in pairwise(times)} == {1}


def quietly(client: kfp.Client, experiment: str) -> list:
    """The runs of an experiment; none while nobody answers."""
    try:
        return runs_of(client, experiment)
    except Exception:  # noqa: BLE001  # whatever a client says of a server that was killed
        return []
