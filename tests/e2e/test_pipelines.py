"""Pipelines through the official SDK and through ``ketch run``: results, artifacts, failures."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import kfp
import pytest
from kfp import dsl
from kfp.dsl import Artifact, Input, Metrics, Model, Output
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e


@dsl.component(base_image="python:3.11")
def numbers(count: int) -> list:
    return list(range(count))


@dsl.component(base_image="python:3.11")
def fit(values: list, model: Output[Model], metrics: Output[Metrics]) -> float:
    mean = sum(values) / len(values)
    with open(model.path, "w") as file:  # noqa: PTH123  # the function travels alone
        file.write(str(mean))
    model.metadata["kind"] = "mean"
    metrics.log_metric("mean", mean)
    return mean


@dsl.component(base_image="python:3.11")
def read(model: Input[Model], expected: float, text: str = "default") -> str:
    with open(model.path) as file:  # noqa: PTH123
        found = float(file.read())
    assert found == expected, (found, expected)
    assert model.metadata["kind"] == "mean", model.metadata
    return f"{text} {found}"


@dsl.component(base_image="python:3.11")
def fail_with(message: str):
    raise ValueError(message)


@dsl.component(base_image="python:3.11", packages_to_install=["iniconfig==2.1.0"])
def uses_a_package() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return version("iniconfig")


@dsl.container_component
def shell(text: str, written: dsl.OutputPath(str), artifact: Output[Artifact]):
    return dsl.ContainerSpec(
        image="busybox",
        command=["sh", "-c"],
        args=[
            'mkdir -p "$(dirname "$1")" "$(dirname "$2")"; echo "$0" > "$1"; echo kept > "$2"',
            text,
            written,
            artifact.path,
        ],
    )


@dsl.component(base_image="python:3.11")
def read_back(text: str, artifact: Input[Artifact]):
    with open(artifact.path) as file:  # noqa: PTH123
        assert file.read() == "kept\n"
    assert text.strip() == "from a shell", text


@dsl.pipeline(name="means")
def means(count: int = 5):
    values = numbers(count=count)
    fitted = fit(values=values.output)
    read(model=fitted.outputs["model"], expected=fitted.outputs["Output"])


@dsl.pipeline(name="failing")
def failing():
    bad = fail_with(message="the reason that users must see").set_display_name("bad step")
    numbers(count=1).after(bad)


@dsl.pipeline(name="others")
def others():
    uses_a_package()
    written = shell(text="from a shell")
    read_back(text=written.outputs["written"], artifact=written.outputs["artifact"])


@dsl.component(base_image="python:3.11")
def square(number: int) -> int:
    return number * number


@dsl.component(base_image="python:3.11")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@dsl.component(base_image="python:3.11")
def say(text: str) -> str:
    return text


@dsl.component(base_image="python:3.11")
def third_time_lucky() -> str:
    import os  # noqa: PLC0415

    attempt = os.environ["KFP_RETRY_INDEX"]
    if attempt != "2":
        raise RuntimeError(f"attempt {attempt} fails")
    return f"lucky at {attempt}"


@dsl.component(base_image="python:3.11")
def last_words(status: dsl.PipelineTaskFinalStatus) -> str:
    return f"{status.pipeline_task_name} {status.state}"


@dsl.component(base_image="python:3.11")
def about(data: Input[Artifact]) -> str:
    return f"{data.uri} {data.metadata['origin']}"


@dsl.component(base_image="python:3.11")
def doze(seconds: float):
    import time  # noqa: PLC0415

    time.sleep(seconds)


@dsl.container_component
def from_nowhere():
    return dsl.ContainerSpec(image="registry.example/no/such:1", command=["true"])


@dsl.pipeline(name="fourth-power")
def fourth_power(number: int) -> int:
    return square(number=square(number=number).output).output


@dsl.pipeline(name="shapes")
def shapes(side: str = "heads"):
    with dsl.ExitHandler(last_words()):
        coin = say(text=side)
        with dsl.If(coin.output == "heads"):
            heads = say(text="it was heads")
        with dsl.Else():
            tails = say(text="it was not")
        say(text=dsl.OneOf(heads.output, tails.output)).set_display_name("which")
        with dsl.ParallelFor(items=[1, 2, 3], parallelism=2) as number:
            squares = square(number=number)
        summed = total(numbers=dsl.Collected(squares.output))
        say(text=f"{summed.output} {fourth_power(number=3).output}").set_display_name("report")
        third_time_lucky().set_retry(num_retries=3, backoff_duration="0s", backoff_factor=1)
        given = dsl.importer(
            artifact_uri="minio://elsewhere/data", artifact_class=Artifact, metadata={"origin": "hand"}
        )
        about(data=given.output)


@dsl.pipeline(name="side-by-side")
def side_by_side():
    left = doze(seconds=1.0).set_display_name("left")
    right = doze(seconds=1.0).set_display_name("right")
    doze(seconds=0.0).set_display_name("afterwards").after(left, right)


@dsl.pipeline(name="endless")
def endless():
    doze(seconds=3600.0)


@dsl.pipeline(name="unknown-image")
def unknown_image():
    from_nowhere()


def finish(client: kfp.Client, run_id: str):
    ended = ("SUCCEEDED", "FAILED")
    return eventually(lambda: (run := client.get_run(run_id)).state in ended and run, 120, f"run {run_id} ends")


def details(run) -> dict[str, Any]:
    return {task.display_name: task for task in run.run_details.task_details}


def results(platform: Platform, run_id: str) -> dict[str, list[Any]]:
    """The parameters that each step gave, by its display name."""
    with urllib.request.urlopen(f"{platform.address}/apis/v2beta1/runs/{run_id}/tasks?page_size=100") as answer:
        tasks = json.load(answer)["tasks"]
    found: dict[str, list[Any]] = {}
    for task in tasks:
        given = [parameter["value"] for parameter in task.get("outputs", {}).get("parameters", [])]
        found.setdefault(task["display_name"], []).extend(given)
    return found


def states(run) -> dict[str, str]:
    return {task.display_name: task.state for task in run.run_details.task_details}


def failures(run) -> str:
    errors = [task.error.message for task in run.run_details.task_details if task.error]
    return "\n".join([run.error.message if run.error else "", *errors])


def test_parameters_and_artifacts_travel_between_steps(kfp_client: kfp.Client):
    run = kfp_client.create_run_from_pipeline_func(means, arguments={"count": 4}, enable_caching=False)
    outcome = finish(kfp_client, run.run_id)
    assert outcome.state == "SUCCEEDED", failures(outcome)
    assert {"numbers": "SUCCEEDED", "fit": "SUCCEEDED", "read": "SUCCEEDED"}.items() <= states(outcome).items()


def test_packages_and_container_components(kfp_client: kfp.Client):
    run = kfp_client.create_run_from_pipeline_func(others, arguments={}, enable_caching=False)
    outcome = finish(kfp_client, run.run_id)
    assert outcome.state == "SUCCEEDED", failures(outcome)


def test_a_failure_reaches_the_client_with_the_step_s_own_error(kfp_client: kfp.Client):
    run = kfp_client.create_run_from_pipeline_func(failing, arguments={}, enable_caching=False)
    outcome = finish(kfp_client, run.run_id)
    assert outcome.state == "FAILED"
    assert "the reason that users must see" in failures(outcome)
    assert states(outcome)["bad step"] == "FAILED"
    assert states(outcome).get("numbers") in (None, "SKIPPED")


def test_every_shape_of_a_graph_runs(platform: Platform, kfp_client: kfp.Client):
    run = kfp_client.create_run_from_pipeline_func(shapes, arguments={}, enable_caching=False)
    outcome = finish(kfp_client, run.run_id)
    assert outcome.state == "SUCCEEDED", failures(outcome)
    found = results(platform, run.run_id)
    assert found["which"] == ["it was heads"]
    assert found["total"] == [14]
    assert found["report"] == ["14 81"]
    assert found["third-time-lucky"] == ["lucky at 2"]
    assert found["last-words"] == ["exit-handler-1 SUCCEEDED"]
    assert found["about"] == ["minio://elsewhere/data hand"]
    assert sorted(task.state for task in outcome.run_details.task_details).count("SKIPPED") == 1
    assert len(details(outcome)["third-time-lucky"].executor_detail.failed_main_jobs) == 2


def test_steps_run_side_by_side_and_after_what_they_wait_for(kfp_client: kfp.Client):
    run = kfp_client.create_run_from_pipeline_func(side_by_side, arguments={}, enable_caching=False)
    outcome = finish(kfp_client, run.run_id)
    assert outcome.state == "SUCCEEDED", failures(outcome)
    tasks = details(outcome)
    left, right, afterwards = tasks["left"], tasks["right"], tasks["afterwards"]
    assert max(left.start_time, right.start_time) < min(left.end_time, right.end_time)
    assert afterwards.start_time >= max(left.end_time, right.end_time)


def test_what_ran_before_is_taken_from_the_cache(kfp_client: kfp.Client):
    for pods in (1, 0):
        run = kfp_client.create_run_from_pipeline_func(fourth_power, arguments={"number": 7})
        outcome = finish(kfp_client, run.run_id)
        assert outcome.state == "SUCCEEDED", failures(outcome)
        assert len([task for task in (details(outcome)["square"],) if task.pod_name]) == pods


def test_a_terminated_run_ends_with_its_pods(platform: Platform, kfp_client: kfp.Client):
    run = kfp_client.create_run_from_pipeline_func(endless, arguments={}, enable_caching=False)

    def pods() -> list[dict[str, Any]]:
        selector = f"pipelines.kubeflow.org/run-id={run.run_id}"
        return platform.get("pods", "-n", "kubeflow", "-l", selector)["items"]

    eventually(lambda: [pod for pod in pods() if pod["status"]["phase"] == "Running"], what="the step runs")
    kfp_client.terminate_run(run.run_id)
    outcome = kfp_client.wait_for_run_completion(run.run_id, timeout=60, sleep_duration=1)
    assert (outcome.state, outcome.error.message) == ("FAILED", "the run was terminated")
    assert details(outcome)["doze"].state == "CANCELED"
    eventually(lambda: not pods(), what="the pod is gone")


def test_an_image_that_nothing_stands_for_fails_the_step_by_name(kfp_client: kfp.Client):
    run = kfp_client.create_run_from_pipeline_func(unknown_image, arguments={}, enable_caching=False)
    outcome = finish(kfp_client, run.run_id)
    assert outcome.state == "FAILED"
    assert "registry.example/no/such:1" in failures(outcome)


def test_the_official_client_s_calls_for_runs_and_experiments(kfp_client: kfp.Client, tmp_path: Path):
    package = str(tmp_path / "means.yaml")
    kfp.compiler.Compiler().compile(means, package)
    experiment = kfp_client.create_experiment("means of numbers", description="for tests")
    run = kfp_client.create_run_from_pipeline_package(
        package, arguments={"count": 2}, run_name="by package", experiment_name="means of numbers", enable_caching=False
    )
    outcome = kfp_client.wait_for_run_completion(run.run_id, timeout=120, sleep_duration=1)
    assert outcome.state == "SUCCEEDED", failures(outcome)
    listed = kfp_client.list_runs(experiment_id=experiment.experiment_id).runs
    assert [(item.display_name, item.state) for item in listed] == [("by package", "SUCCEEDED")]
    assert kfp_client.get_experiment(experiment_name="means of numbers").experiment_id == experiment.experiment_id
    assert "means of numbers" in [item.display_name for item in kfp_client.list_experiments(page_size=100).experiments]


def test_a_wrong_parameter_is_refused_by_name(kfp_client: kfp.Client):
    with pytest.raises(Exception, match="no_such") as refused:
        kfp_client.create_run_from_pipeline_func(means, arguments={"no_such": 1})
    assert "400" in str(refused.value) or "Bad Request" in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({}, "number", id="a parameter without default is missing"),
        pytest.param({"number": "seven"}, "number", id="text for a number"),
    ],
)
def test_parameters_that_do_not_fit_are_named(kfp_client: kfp.Client, arguments: dict[str, Any], message: str):
    with pytest.raises(Exception, match=message):
        kfp_client.create_run_from_pipeline_func(fourth_power, arguments=arguments)


def test_ketch_run_follows_and_its_exit_code_tells_the_outcome(platform: Platform, tmp_path: Path):
    for name, function, arguments, code in (
        ("good", "means", ["-p", "count=3"], 0),
        ("bad", "failing", [], 1),
    ):
        package = tmp_path / f"{name}.yaml"
        kfp.compiler.Compiler().compile(globals()[function], str(package))
        result = platform.ketch("run", str(package), *arguments, "--no-cache")
        assert result.returncode == code, result.stdout + result.stderr
        if code:
            assert "the reason that users must see" in result.stderr
        else:
            assert "fit" in result.stdout
    broken = tmp_path / "broken.py"
    broken.write_text("from kfp import dsl\n\n@dsl.pipeline\ndef broken():\n    undefined_step()\n")
    result = platform.ketch("run", str(broken))
    assert result.returncode == 2
    assert "undefined_step" in result.stderr
