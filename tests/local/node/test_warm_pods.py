"""Pods of a known Python program: the first starts cold, those after it warm, and nothing they do tells which."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

from tests.waiting import eventually

SCRIPT = """\
program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main --component_module_path "$program_path/ephemeral_component.py" "$@"
"""
SOURCE = """
import os, sys, kfp
from kfp.dsl import *
def step(number: int):
    print(number + 1, kfp.__version__, os.environ["WHO"], open("/etc/hostname").read().strip() != "", os.getcwd())
    print(os.environ["PWD"], os.environ["_KFP_RUNTIME"], sys.argv[0].endswith("executor_main.py"), file=sys.stderr)
    if number < 0:
        raise ValueError("too little")
"""
PROCESS = {
    "container": "main",
    "program": "python3",
    "module": "kfp.dsl.executor_main",
    "first": 4,
    "text": 3,
    "text-name": "ephemeral_component.py",
    "option": "--component_module_path",
    "env": {"_KFP_RUNTIME": "true"},
}
VARYING = re.compile(r"/tmp/tmp\.\w+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+")


class Steps:
    """Pods that run a step."""

    def __init__(self, node: Any) -> None:
        self.node = node

    async def run(self, name: str, number: int = 1, **annotations: str) -> tuple[bool, str, str]:
        """Whether it came from a template; its phase; what it printed."""
        given = {"inputs": {"parameterValues": {"number": number}}, "outputs": {"outputFile": "/tmp/out.json"}}
        container = {
            "image": "python:3.11",
            "command": ["sh", "-ec", SCRIPT, SOURCE],
            "args": ["--executor_input", json.dumps(given), "--function_to_execute", "step"],
            "env": [{"name": "WHO", "value": "me"}],
        }
        said = {"environment.ketch.dev/process": json.dumps(PROCESS), **annotations}
        await self.node.create(name, container, metadata={"annotations": said})
        pod = await self.node.phase(name, "Succeeded", "Failed")
        record = self.node.data / "pods" / pod.metadata.uid / "containers" / "main" / "0" / "started.json"
        text = VARYING.sub("", await self.node.logs(name))
        return json.loads(record.read_text())["warm"], pod.status.phase, "\n".join(sorted(text.splitlines()))

    async def ready(self) -> Path:
        """The report of the template, once there is one."""

        async def found() -> Path | None:
            return next((path for path in (self.node.data / "run" / "warm").glob("*.json")), None)

        return await eventually(found)

    async def until_warm(self, name: str) -> tuple[bool, str, str]:
        """A step that came from a template, after others that did not."""
        for number in range(100):
            result = await self.run(f"{name}-{number}")
            if result[0]:
                return result
        raise AssertionError("no step came from a template")


async def test_the_second_is_warm_and_like_the_first(node):
    steps = Steps(node)
    cold = await steps.run("one")
    assert cold[:2] == (False, "Succeeded")
    assert "2 2.17.3 me True /" in cold[2]
    await steps.ready()
    warm = await steps.until_warm("two")
    assert warm[1:] == cold[1:]
    failed = await steps.run("three", -1)
    again = await steps.run("four", -1, **{"environment.ketch.dev/warm": "false"})
    assert (failed[0], again[0]) == (True, False)
    assert failed[1:] == again[1:]
    assert "ValueError: too little" in failed[2]


async def test_a_template_that_is_gone_is_replaced(node):
    steps = Steps(node)
    await steps.run("one")
    report = await steps.ready()
    await steps.until_warm("two")
    os.kill(json.loads(report.read_text())["pid"], signal.SIGKILL)
    assert (await steps.run("three"))[1] == "Succeeded"
    assert (await steps.until_warm("four"))[1] == "Succeeded"


async def test_the_next_agent_finds_the_template(node):
    steps = Steps(node)
    await steps.run("one")
    before = json.loads((await steps.ready()).read_text())["pid"]
    await steps.until_warm("two")
    await node.stop()
    await node.start()
    await steps.until_warm("three")
    assert json.loads((await steps.ready()).read_text())["pid"] == before
