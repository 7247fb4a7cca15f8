"""Pipelines through the official SDK and through ``ketch run``: results, artifacts, failures."""

import json
from pathlib import Path

import kfp
import pytest
from kfp import dsl
from kfp.dsl import Artifact, Input, Metrics, Model, Output
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples"


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


def finish(client: kfp.Client, run_id: str):
    return eventually(
        lambda: (run := client.get_run(run_id)).state in ("SUCCEEDED", "FAILED") and run, 120, f"run {run_id} ends"
    )


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


def test_the_digits_example_trains_chooses_and_leaves_a_model(platform: Platform, kfp_client: kfp.Client):
    result = platform.ketch("run", str(EXAMPLES / "digits" / "pipeline.py"), "-p", "trees=50")
    assert result.returncode == 0, result.stdout + result.stderr
    run = kfp_client.list_runs(sort_by="created_at desc", page_size=1).runs[0]
    assert {name for name, state in states(run).items() if state == "SUCCEEDED"} >= {
        "load",
        "train-linear",
        "train-forest",
        "choose",
    }
    models = list((platform.root / "objects").glob(f"**/{run.run_id}/**/best"))
    assert len(models) == 1
    assert models[0].stat().st_size > 1000
    assert json.dumps(run.to_dict(), default=str)
