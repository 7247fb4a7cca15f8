"""What the documentation shows is what happens: the examples, and the README's own program."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kfp
import pytest
from tests.e2e.platforms import Platform

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def run_script(script: Path, platform: Platform) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KETCH_HOST": platform.address, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, str(script)], check=False, text=True, capture_output=True, env=environment, timeout=300
    )


def test_the_digits_example_trains_chooses_and_leaves_a_model(platform: Platform, kfp_client: kfp.Client):
    result = run_script(ROOT / "examples" / "digits" / "submit.py", platform)
    assert result.returncode == 0, result.stdout + result.stderr
    for words in (
        "✓ choose",
        "linear_accuracy",
        "forest_accuracy",
        "← the winner",
        "model  best",
        "minio://mlpipeline/",
    ):
        assert words in result.stdout
    run_id = re.search(r"^run (\S+)$", result.stdout, re.MULTILINE).group(1)
    assert kfp_client.get_run(run_id).state == "SUCCEEDED"
    (model,) = (platform.root / "objects").glob(f"**/{run_id}/**/best")
    assert f"{model.stat().st_size:,} bytes" in result.stdout


def run_example(platform: Platform, client: kfp.Client, name: str, *arguments: str) -> tuple[Any, dict[str, Any]]:
    """Run it by ``ketch run``: the run by the official client, and the whole of it as the command line tells it."""
    result = platform.ketch("run", str(ROOT / "examples" / name / "pipeline.py"), *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    run_id = result.stdout.split()[1]
    document = json.loads(platform.ketch("runs", "show", run_id, "-o", "json").stdout)
    return client.get_run(run_id), steps_by_path(document["steps"])


def steps_by_path(steps: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for step in steps:
        found |= {step["path"]: step} | steps_by_path(step.get("steps", []))
    return found


def test_the_text_example_knows_topics_better_than_guessing(platform: Platform, kfp_client: kfp.Client):
    run, steps = run_example(platform, kfp_client, "text", "-p", "longest_phrase=1")
    assert run.state == "SUCCEEDED"
    (metrics,) = steps["evaluate"]["outputs"]["metrics"]
    assert metrics["metadata"]["accuracy"] > 1.5 * metrics["metadata"]["guessing"]
    (confusion,) = steps["evaluate"]["outputs"]["confusion"]
    topics = [each["displayName"] for each in confusion["metadata"]["confusionMatrix"]["annotationSpecs"]]
    assert topics == ["files", "network", "numbers", "tasks"]


def test_the_sweep_example_tries_all_and_keeps_the_best(platform: Platform, kfp_client: kfp.Client):
    run, steps = run_example(platform, kfp_client, "sweep", "-p", "learning_rates=[0.03, 0.3]", "-p", "depths=[1, 2]")
    assert run.state == "SUCCEEDED"
    tried = {path: step["outputs"]["Output"] for path, step in steps.items() if path.endswith("/fit")}
    assert len(tried) == 4
    (best,) = steps["select"]["outputs"]["best"]
    assert best["metadata"]["score"] == max(tried.values())
    assert steps["select"]["outputs"]["Output"]["learning_rate"] == best["metadata"]["learning_rate"]


@pytest.mark.parametrize(
    ("arguments", "decision"),
    [
        pytest.param((), "deployed", id="good"),
        pytest.param(("-p", "deploy_from=1.01"), "in review", id="middling"),
        pytest.param(("-p", "deploy_from=1.01", "-p", "review_from=1.01"), "rejected", id="bad"),
    ],
)
def test_the_deployment_example_decides_by_quality_and_tells(
    platform: Platform, kfp_client: kfp.Client, arguments: tuple[str, ...], decision: str
):
    run, steps = run_example(platform, kfp_client, "deployment", *arguments)
    assert run.state == "SUCCEEDED"
    assert steps["decide/record"]["outputs"]["Output"] == decision
    assert [step["state"] for path, step in steps.items() if path.count("/") == 2].count("SKIPPED") == 2
    (message,) = (platform.root / "objects").glob(f"**/{run.run_id}/tell/**/message")
    assert message.read_text() == "exit-handler-1: SUCCEEDED"


def test_the_deployment_example_tells_of_a_failure_too(platform: Platform, kfp_client: kfp.Client):
    path = str(ROOT / "examples" / "deployment" / "pipeline.py")
    result = platform.ketch("run", path, "-p", "rounds=-1")
    assert result.returncode == 1
    assert "✗ decide/train failed" in result.stderr
    run_id = result.stdout.split()[1]
    (message,) = (platform.root / "objects").glob(f"**/{run_id}/tell/**/message")
    assert message.read_text().startswith("exit-handler-1: FAILED")


def test_the_notebook_example_hands_on_what_the_notebook_found(platform: Platform, kfp_client: kfp.Client):
    run, steps = run_example(platform, kfp_client, "notebook")
    assert run.state == "SUCCEEDED"
    assert 0.9 < steps["explore"]["outputs"]["Output"] < 1
    (report,) = (platform.root / "objects").glob(f"**/{run.run_id}/explore/**/report")
    assert report.read_text().startswith("# petal ")


def test_the_shell_example_needs_no_python(platform: Platform, kfp_client: kfp.Client):
    run, steps = run_example(platform, kfp_client, "shell", "-p", "rows=30")
    assert run.state == "SUCCEEDED"
    assert steps["average"]["outputs"]["hottest"] == "c"
    assert len(platform.ketch("runs", "logs", run.run_id, "average").stdout.splitlines()) == 3


def test_the_recurring_example_is_run_by_the_clock(platform: Platform, kfp_client: kfp.Client):
    result = run_script(ROOT / "examples" / "recurring" / "schedule.py", platform)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "succeeded" in result.stdout
    identity = re.search(r"^recurring run (\S+):", result.stdout, re.MULTILINE).group(1)
    assert kfp_client.get_recurring_run(identity).status == "DISABLED"


def test_the_training_example_learns_on_two_nodes_and_tells_of_it(platform: Platform):
    script = str(ROOT / "examples" / "training" / "train.py")
    options = ("--nodes", "2", "--checkpoints", "--name", "digits-example")
    result = platform.ketch("train", script, *options, "--", "--epochs", "2", timeout=400)
    assert result.returncode == 0, result.stdout + result.stderr
    found = re.search(r"^rank 0 │ epoch 2: (\d+)% right, on 2 processes$", result.stdout, re.MULTILINE)
    assert found is not None, result.stdout
    assert int(found[1]) > 40  # of ten digits, after two epochs
    status = json.loads(platform.ketch("jobs", "show", "digits-example", "-o", "json").stdout)["status"]
    assert status["trainerStatus"]["progressPercentage"] == 100
    assert {each["rank"]: each.get("checkpoint") for each in status["ranks"]}[0] == "step-2.pt"


def test_every_example_says_what_it_is(platform: Platform):
    for folder in (ROOT / "examples").iterdir():
        if folder.is_dir() and any(folder.glob("*.py")):
            text = (folder / "README.md").read_text()
            for path in re.findall(r"examples/\S+\.py", text):
                assert (ROOT / path).exists()


def test_without_a_platform_the_example_says_how_to_start_one(platform: Platform):
    nowhere = Platform(platform.root, "http://127.0.0.1:9", "")
    result = run_script(ROOT / "examples" / "digits" / "submit.py", nowhere)
    assert result.returncode == 3
    assert "ketch up" in result.stderr


def test_the_program_in_the_readme_does_what_it_says(platform: Platform, tmp_path: Path):
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (program,) = [each for each in programs if "kfp.Client" in each]
    script = tmp_path / "sums.py"
    script.write_text(program.replace("http://localhost:8080", platform.address))
    result = run_script(script, platform)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "SUCCEEDED"
