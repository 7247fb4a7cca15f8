"""The peers' programs: the same small step, in each tool's own words."""

from importlib.metadata import version

from benchmarks.peers.peer import Peer

KFP_LOCAL = Peer(
    name="kfp.local",
    requirement=f"kfp=={version('kfp')}",
    chain="""
import time
from kfp import dsl, local
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root="{folder}/local", raise_on_error=True)

@dsl.component(install_kfp_package=False)
def step(number: int) -> int:
    return number + 1

@dsl.pipeline(name="chain")
def pipeline():
    task = step(number=0)
    for _ in range({steps} - 1):
        task = step(number=task.output)

started = time.perf_counter()
pipeline()
print("SECONDS", time.perf_counter() - started)
""",
    fan_out="""
import time
from kfp import dsl, local
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root="{folder}/local", raise_on_error=True)

@dsl.component(install_kfp_package=False)
def step(number: int) -> int:
    return number + 1

@dsl.pipeline(name="fan-out")
def pipeline():
    for number in range({steps}):
        step(number=number)

started = time.perf_counter()
pipeline()
print("SECONDS", time.perf_counter() - started)
""",
)

_PREFECT_SERVER = {
    "PREFECT_HOME": "{folder}/home",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_CLI_PROMPT": "false",
}
PREFECT = Peer(
    name="Prefect",
    requirement="prefect==3.9.1",
    environment=_PREFECT_SERVER,
    chain="""
import time
from prefect import flow, task

@task
def step(number):
    return number + 1

@flow
def chain(count):
    number = 0
    for _ in range(count):
        number = step(number)
    return number

if __name__ == "__main__":
    chain(1)
    started = time.perf_counter()
    assert chain({steps}) == {steps}
    print("SECONDS", time.perf_counter() - started)
""",
    fan_out="""
import time
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

@task
def step(number):
    return number + 1

@flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
def fan_out(count):
    return sum(step.map(list(range(count))).result())

if __name__ == "__main__":
    fan_out(1)
    started = time.perf_counter()
    fan_out({steps})
    print("SECONDS", time.perf_counter() - started)
""",
)

DAGSTER = Peer(
    name="Dagster multiprocess",
    requirement="dagster==1.13.29",
    environment={"DAGSTER_HOME": "{folder}", "DAGSTER_DISABLE_TELEMETRY": "yes"},
    most_in_chain=10,
    most_in_fan_out=20,
    chain="""
import time
from dagster import DagsterInstance, execute_job, job, multiprocess_executor, op, reconstructable

@op
def start() -> int:
    return 0

@op
def step(number: int) -> int:
    return number + 1

@job(executor_def=multiprocess_executor.configured({"max_concurrent": 2}))
def chain():
    number = start()
    for index in range({steps} - 1):
        number = step.alias(f"step_{index}")(number)

if __name__ == "__main__":
    with open("{folder}/dagster.yaml", "w") as file:
        file.write("telemetry:\\n  enabled: false\\n")
    with DagsterInstance.get() as instance:
        started = time.perf_counter()
        assert execute_job(reconstructable(chain), instance=instance).success
        print("SECONDS", time.perf_counter() - started)
""",
    fan_out="""
import time
from dagster import DagsterInstance, execute_job, job, multiprocess_executor, op, reconstructable

@op
def step() -> int:
    return 1

@job(executor_def=multiprocess_executor.configured({"max_concurrent": 2}))
def fan_out():
    for index in range({steps}):
        step.alias(f"step_{index}")()

if __name__ == "__main__":
    with open("{folder}/dagster.yaml", "w") as file:
        file.write("telemetry:\\n  enabled: false\\n")
    with DagsterInstance.get() as instance:
        started = time.perf_counter()
        assert execute_job(reconstructable(fan_out), instance=instance).success
        print("SECONDS", time.perf_counter() - started)
""",
)

_METAFLOW = {
    "METAFLOW_HOME": "{folder}/home",
    "METAFLOW_DATASTORE_SYSROOT_LOCAL": "{folder}",
    "METAFLOW_DEFAULT_DATASTORE": "local",
    "METAFLOW_DEFAULT_METADATA": "local",
    "METAFLOW_USER": "benchmark",
    "USERNAME": "benchmark",
}
_METAFLOW_MAIN = """
import os, subprocess, sys, time
with open("{folder}/flow.py", "w") as file:
    file.write(flow)
started = time.perf_counter()
command = [sys.executable, "{folder}/flow.py", "--quiet", "--no-pylint", "run", "--max-workers", "2"]
subprocess.run([*command, "--max-num-splits", "2000"], check=True)
print("SECONDS", time.perf_counter() - started)
"""
METAFLOW = Peer(
    name="Metaflow",
    requirement="metaflow==2.19.39 setuptools",
    environment=_METAFLOW,
    most_in_chain=30,
    most_in_fan_out=100,
    chain='''
steps = [f"""
    @step
    def s{index}(self):
        self.number += 1
        self.next(self.{'end' if index == {steps} - 3 else f's{index + 1}'})
""" for index in range({steps} - 2)]
flow = f"""
from metaflow import FlowSpec, step

class ChainFlow(FlowSpec):
    @step
    def start(self):
        self.number = 0
        self.next(self.{'s0' if steps else 'end'})
{''.join(steps)}
    @step
    def end(self):
        pass

if __name__ == "__main__":
    ChainFlow()
"""
'''
    + _METAFLOW_MAIN,
    fan_out='''
flow = """
from metaflow import FlowSpec, step

class FanOutFlow(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range({steps}))
        self.next(self.work, foreach="numbers")

    @step
    def work(self):
        self.number = self.input + 1
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    FanOutFlow()
"""
'''
    + _METAFLOW_MAIN,
)

PEERS = (KFP_LOCAL, PREFECT, DAGSTER, METAFLOW)
