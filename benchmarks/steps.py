"""Pipelines of small Python steps in the shapes that are measured, and one run of one."""

import contextlib
import io
import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK, SLOW_LOOK = 0.05, 0.25
"""Seconds between looks at a run's state; the SDK's own waiter sleeps for five. Large runs are looked at less often:
each look asks for all that the run knows of its steps."""

MANY = 200

PROGRAM = """
from kfp import dsl

@dsl.component(install_kfp_package=False)
def step(number: int) -> int:
    return number + 1

@dsl.pipeline(name="chain")
def chain():
    task = step(number=0).set_caching_options(False)
    for _ in range({steps} - 1):
        task = step(number=task.output).set_caching_options(False)

@dsl.pipeline(name="fan-out")
def fan_out():
    with dsl.ParallelFor(list(range({steps})), parallelism={parallelism}) as number:
        step(number=number).set_caching_options(False)
"""


@dataclass(frozen=True)
class Compiled:
    """A pipeline as a package, and how many steps it has."""

    package: Path
    steps: int


def compiled(folder: Path, shape: str, steps: int, parallelism: int | None = None) -> Compiled:
    """The pipeline ``shape`` (chain, fan_out), compiled by the SDK."""
    from kfp import compiler

    name = f"program_{shape}_{steps}"
    (folder / f"{name}.py").write_text(PROGRAM.format(steps=steps, parallelism=parallelism))
    sys.path.insert(0, str(folder))
    try:
        program = __import__(name)
    finally:
        sys.path.remove(str(folder))
    package = folder / f"{name}.yaml"
    compiler.Compiler().compile(getattr(program, shape), str(package))
    return Compiled(package, steps)


def connect(address: str) -> Any:
    """The SDK's client."""
    warnings.simplefilter("ignore", FutureWarning)
    import kfp

    return kfp.Client(host=address)


def submit(client: Any, pipeline: Compiled) -> str:
    """Create a run: its id."""
    with contextlib.redirect_stdout(io.StringIO()):  # the SDK prints links
        return client.create_run_from_pipeline_package(str(pipeline.package), arguments={}).run_id


def wait(client: Any, run_id: str, steps: int) -> None:
    """Until the run has succeeded."""
    while (state := client.get_run(run_id).state) not in ("SUCCEEDED", "FAILED", "CANCELED"):
        time.sleep(LOOK if steps <= MANY else SLOW_LOOK)
    if state != "SUCCEEDED":
        sys.exit(f"run {run_id}: {state}: {client.get_run(run_id).error}")


def seconds_of(client: Any, pipeline: Compiled) -> float:
    """From sending the run until it is known to have succeeded."""
    started = time.perf_counter()
    wait(client, submit(client, pipeline), pipeline.steps)
    return time.perf_counter() - started


def load() -> str:
    """For titles: what else the machine did."""
    return f"load average {os.getloadavg()[0]:.1f} before"
