"""Seconds per step of a pipeline of lightweight Python steps in a row, beside the SDK's own local runner.

Three times: with all defaults of SDK and runner (each step begins by installing kfp with pip, and the runner makes a
virtual environment for it), with the runner's environments switched off, and without the line that installs kfp too.
(With an environment of its own a component cannot run without that line: kfp is not in it.)
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from benchmarks.platforms import running_platform
from benchmarks.tables import median, show

STEPS, ROUNDS = 20, 3
LOOK = 0.05
FEW_STEPS = 2
"""Of the SDK's runner where each step installs kfp: it needs many seconds for one."""

PROGRAM = """
import sys
from kfp import dsl

@dsl.component(install_kfp_package={install})
def step(number: int) -> int:
    return number + 1

@dsl.pipeline(name="twenty-steps")
def pipeline():
    task = step(number=0)
    for _ in range({steps} - 1):
        task = step(number=task.output)
"""

LOCAL = """
import sys, time
sys.path.insert(0, {folder!r})
from kfp import local
local.init(runner=local.SubprocessRunner(use_venv={use_venv}), pipeline_root={folder!r} + "/local", raise_on_error=True)
from program import pipeline
started = time.perf_counter()
pipeline()
print("SECONDS", time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Setting:
    """One row: whether components install kfp, whether the SDK's runner makes environments."""

    title: str
    install: bool
    use_venv: bool
    local_steps: int = STEPS
    local_rounds: int = ROUNDS


SETTINGS = (
    Setting("all defaults", install=True, use_venv=True, local_steps=FEW_STEPS, local_rounds=1),
    Setting("kfp.local with use_venv=False", install=True, use_venv=False, local_steps=FEW_STEPS),
    Setting("install_kfp_package=False too", install=False, use_venv=False),
)


def _load(folder: Path, install: bool, steps: int) -> Any:
    (folder / "program.py").write_text(PROGRAM.format(install=install, steps=steps))
    sys.path.insert(0, str(folder))
    sys.modules.pop("program", None)
    try:
        import program

        return program.pipeline
    finally:
        sys.path.remove(str(folder))


def _make_environment(folder: Path) -> None:
    """A virtual environment with pip and this SDK, as its users have it."""
    uv, home = find_uv_bin(), folder / "environment"
    subprocess.run([uv, "venv", "-q", "--seed", "--python", sys.executable, str(home)], check=True)
    kfp = f"kfp=={version('kfp')}"
    subprocess.run([uv, "pip", "install", "-q", "--python", str(home / "bin" / "python"), kfp], check=True)


def _local(folder: Path, setting: Setting) -> float:
    """Seconds per step under the SDK's SubprocessRunner, in a process of its own and an environment of its own."""
    programs = folder / "environment" / "bin"
    (folder / "program.py").write_text(PROGRAM.format(install=setting.install, steps=setting.local_steps))
    script = folder / "local_run.py"
    script.write_text(LOCAL.format(folder=str(folder), use_venv=setting.use_venv))
    path = f"{programs}:{os.environ['PATH']}"
    result = subprocess.run(
        [str(programs / "python"), str(script)],
        check=False,
        text=True,
        capture_output=True,
        env={**os.environ, "PATH": path},
    )
    for line in result.stdout.splitlines():
        if line.startswith("SECONDS"):
            return float(line.split()[1]) / setting.local_steps
    sys.exit(f"the SDK's local runner failed: {result.stdout[-2000:]}{result.stderr[-2000:]}")


def _ours(client: Any, pipeline: Any) -> float:
    """Seconds per step of one run."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):  # the SDK prints links
        run = client.create_run_from_pipeline_func(pipeline, arguments={}, enable_caching=False)
    # The SDK's own waiter sleeps for seconds between looks; the state is read as it changes.
    while (state := client.get_run(run.run_id).state) not in ("SUCCEEDED", "FAILED"):
        time.sleep(LOOK)
    if state != "SUCCEEDED":
        sys.exit(f"run {run.run_id} failed")
    return (time.perf_counter() - started) / STEPS


def main() -> None:
    warnings.simplefilter("ignore", FutureWarning)
    import kfp

    rows = []
    folder = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    _make_environment(folder)
    with running_platform() as platform:
        client = kfp.Client(host=platform.address)
        for setting in SETTINGS:
            pipeline = _load(folder, setting.install, STEPS)
            _ours(client, pipeline)  # builds the environment
            ours = median([_ours(client, pipeline) for _ in range(ROUNDS)])
            theirs = median([_local(folder, setting) for _ in range(setting.local_rounds)])
            rows.append((setting.title, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.1f}"))
    shutil.rmtree(folder, ignore_errors=True)
    show(
        f"Seconds per step, {STEPS} lightweight Python steps in a row",
        ("", "Ketch", "kfp.local SubprocessRunner", "times quicker"),
        rows,
    )
