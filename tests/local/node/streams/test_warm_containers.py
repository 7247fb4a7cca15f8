"""Into containers that were forked from a warm interpreter: no client can tell."""

import json

from tests.local.node.conftest import NAMESPACE, Node
from tests.local.node.streams.clients import STDIN, STDOUT, connected
from tests.local.node.test_warm_pods import PROCESS, SCRIPT, Steps
from tests.waiting import eventually

WAITS = """
import pathlib, time
from kfp.dsl import *
def step(number: int):
    while not pathlib.Path("/tmp/go").exists():
        time.sleep(0.02)
"""


async def test_commands_attach_and_use(node: Node):
    steps = Steps(node)
    await steps.run("one")
    await steps.ready()
    await steps.until_warm("two")
    given = {"inputs": {"parameterValues": {"number": 1}}, "outputs": {"outputFile": "/tmp/out.json"}}
    container = {
        "image": "python:3.11",
        "command": ["sh", "-ec", SCRIPT, WAITS],
        "args": ["--executor_input", json.dumps(given), "--function_to_execute", "step"],
        "env": [{"name": "WHO", "value": "me"}],
    }
    annotations = {"environment.ketch.dev/process": json.dumps(PROCESS)}
    pod = await node.create("w", container, metadata={"annotations": annotations})
    await node.phase("w", "Running")
    record = node.data / "pods" / pod.metadata.uid / "containers" / "main" / "0" / "started.json"
    assert json.loads(record.read_text())["warm"]
    path = f"/exec/{NAMESPACE}/w/main"
    async with connected(node.data, path, command=["sh", "-c", "echo $WHO; cat; exit 3"], stdin="true") as client:
        await client.send(STDIN, "said")
        await client.send(255, bytes((STDIN,)))
        assert await client.code() == 3
    assert client.seen[STDOUT] == b"me\nsaid"
    async with connected(node.data, path, command=["sh", "-c", "tty; hostname"], tty="true") as client:
        assert await client.code() == 0
    assert client.seen[STDOUT] == b"/dev/pts/0\r\nw\r\n"
    assert node.agent is not None
    assert [name.container for name in node.agent.processes() if name.pod == pod.metadata.uid] == ["main"]
    async with connected(node.data, path, command=["touch", "/tmp/go"]) as client:
        assert await client.code() == 0
    await eventually(lambda: not node.agent or not list(node.agent.processes()))
    await node.phase("w", "Succeeded")
