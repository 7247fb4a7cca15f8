"""What the documentation shows is what happens: the examples, and the README's own program."""

import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_without_a_platform_the_example_says_how_to_start_one(platform: Platform):
    nowhere = Platform(platform.root, "http://127.0.0.1:9", "")
    result = run_script(ROOT / "examples" / "digits" / "submit.py", nowhere)
    assert result.returncode == 3
    assert "ketch up" in result.stderr


def test_the_program_in_the_readme_does_what_it_says(platform: Platform, tmp_path: Path):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script = tmp_path / "sums.py"
    script.write_text(program.replace("http://localhost:8080", platform.address))
    result = run_script(script, platform)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "SUCCEEDED"
