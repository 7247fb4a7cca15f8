"""Seconds per step of a pipeline of 20 lightweight Python steps, beside the SDK's own local runner.

Twice: with the SDK's default settings (each step begins by installing kfp with pip), and without that line.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.platforms import running_platform
from benchmarks.tables import median, show

STEPS, ROUNDS = 20, 3

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
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root={folder!r} + "/local", raise_on_error=True)
from program import pipeline
started = time.perf_counter()
pipeline()
print("SECONDS", time.perf_counter() - started)
"""


def _load(folder: Path, install: bool) -> Any:
    (folder / "program.py").write_text(PROGRAM.format(install=install, steps=STEPS))
    sys.path.insert(0, str(folder))
    sys.modules.pop("program", None)
    try:
        import program

        return program.pipeline
    finally:
        sys.path.remove(str(folder))


def _local(folder: Path) -> float:
    """Seconds of the whole pipeline under the SDK's SubprocessRunner, in a process of its own."""
    script = folder / "local_run.py"
    script.write_text(LOCAL.format(folder=str(folder)))
    result = subprocess.run([sys.executable, str(script)], check=False, text=True, capture_output=True)
    for line in result.stdout.splitlines():
        if line.startswith("SECONDS"):
            return float(line.split()[1])
    sys.exit(f"the SDK's local runner failed: {result.stderr[-2000:]}")


def _submit(client: Any, pipeline: Any) -> Callable[[], float]:
    def once() -> float:
        started = time.perf_counter()
        run = client.create_run_from_pipeline_func(pipeline, arguments={}, enable_caching=False)
        # The SDK's own waiter sleeps for seconds between looks; the state is read as it changes.
        while (state := client.get_run(run.run_id).state) not in ("SUCCEEDED", "FAILED"):
            time.sleep(0.01)
        if state != "SUCCEEDED":
            sys.exit(f"run {run.run_id} failed")
        return time.perf_counter() - started

    return once


def main() -> None:
    import kfp

    rows = []
    with running_platform() as platform:
        client = kfp.Client(host=platform.address)
        for install, title in ((True, "SDK's default settings"), (False, "install_kfp_package=False")):
            folder = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
            pipeline = _load(folder, install)
            once = _submit(client, pipeline)
            once()  # builds the environment
            ours = [once() / STEPS for _ in range(ROUNDS)]
            theirs = [_local(folder) / STEPS for _ in range(ROUNDS)]
            shutil.rmtree(folder, ignore_errors=True)
            ratio = median(theirs) / median(ours)
            rows.append((title, f"{median(ours):.3f}", f"{median(theirs):.3f}", f"{ratio:.1f}"))
    show(
        f"Seconds per step, {STEPS} lightweight Python steps in a row (median of {ROUNDS})",
        ("", "Ketch", "kfp.local SubprocessRunner", "times quicker"),
        rows,
    )
