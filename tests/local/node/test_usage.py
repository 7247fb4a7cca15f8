"""What containers and the machine use, measured when somebody asks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
from tests.local.node.conftest import NAMESPACE, Node
from tests.local.node.streams.clients import connected
from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.node.usage import ContainerName, Look, Measured, Meter, between

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = ContainerName("1", "old"), ContainerName("2", "new")
SPIN = "x = bytearray(50_000_000)\nwhile True: pass"


def test_rates_are_those_between_two_looks():
    first = Look(NOW, 10.0, Measured(100.0, 5), {OLD: Measured(3.0, 7)})
    last = Look(NOW, 12.0, Measured(103.0, 6), {OLD: Measured(4.0, 8), NEW: Measured(0.5, 9)})
    usage = between(first, last)
    assert (usage.window, usage.machine.cores, usage.machine.memory) == (2.0, 1.5, 6)
    assert {name: (use.cores, use.memory) for name, use in usage.containers.items()} == {OLD: (0.5, 8), NEW: (0.25, 9)}


def test_a_count_that_fell_is_no_use():
    first, last = (
        Look(NOW, 1.0, Measured(9.0, 1), {OLD: Measured(3.0, 7)}),
        Look(NOW, 2.0, Measured(8.0, 1), {OLD: Measured(2.0, 7)}),
    )
    assert [between(first, last).machine.cores, between(first, last).containers[OLD].cores] == [0.0, 0.0]


async def ask(node: Node) -> Mapping[str, Any]:
    connector = aiohttp.UnixConnector(str(node.data / "run" / "node.sock"))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://node/usage") as answer:
        return await answer.json()


async def test_containers_that_work_and_containers_that_do_not(node: Node):
    busy = {"name": "busy", "image": "python:3.11", "command": ["python", "-c", SPIN]}
    pod = await node.create("p", {"sh": "exec sleep 600"})
    other = await node.create("q", busy)
    for name in ("p", "q"):
        await node.phase(name, "Running")
    uid, uid_of_busy = pod.metadata.uid, other.metadata.uid

    async def seen() -> Mapping[str, Any] | None:
        answer = await ask(node)
        found = answer["pods"]
        return answer if set(found) == {uid, uid_of_busy} and found[uid_of_busy]["busy"]["cores"] > 0.01 else None

    answer = await eventually(seen)
    assert 50_000_000 <= answer["pods"][uid_of_busy]["busy"]["memory"] < 150_000_000
    assert answer["pods"][uid]["main"]["cores"] < answer["pods"][uid_of_busy]["busy"]["cores"]
    assert answer["machine"]["memory"] > 50_000_000
    assert 0 < answer["window"] <= 120

    path, script = f"/exec/{NAMESPACE}/p/main", f"exec python3 -c '{SPIN}'"
    async with connected(node.data, path, command=["sh", "-c", script]):

        async def counted() -> bool:
            return (await ask(node))["pods"][uid]["main"]["memory"] > 50_000_000

        await eventually(counted)


async def test_processes_that_are_gone_or_not_in_a_container():
    usage = await Meter(SYSTEM_CLOCK).usage({OLD: 999_999_999})
    assert usage.containers == {}
    assert usage.machine.memory > 0
