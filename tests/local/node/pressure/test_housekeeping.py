"""A node that runs short says so and makes room, a pod at a time, and is as before once there is room."""

from collections.abc import Awaitable, Callable

import pytest
from tests.local.node.conftest import Node
from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.conditions import find
from ketch.kube.errors import TransportError
from ketch.kube.types.core import Node as NodeObject
from ketch.local.node.pressure.housekeeping import Housekeeper, Ways
from ketch.local.node.pressure.machine import DISK, MEMORY, PROCESSES, Machine, Supply
from ketch.local.node.pressure.reclaiming import forget_ended

PLENTY = 1 << 40
WRITES = "head -c 3000000 /dev/zero > /tmp/file; echo written; exec sleep 600"


class Scarcity:
    """A machine whose supplies a test decides."""

    def __init__(self) -> None:
        self.left = {"ephemeral-storage": PLENTY, "memory": PLENTY, "pids": PLENTY}

    def observe(self) -> Machine:
        kinds = {"ephemeral-storage": DISK, "memory": MEMORY, "pids": PROCESSES}
        return Machine(tuple(Supply(kinds[name], name, left, 1 << 20) for name, left in self.left.items()))


def housekeeper(
    node: Node, scarcity: Scarcity, report: Callable[[frozenset[str]], Awaitable[None]] | None = None
) -> Housekeeper:
    agent = node.agent
    assert agent is not None
    ways = Ways(
        scarcity.observe,
        report or agent._registration.report_pressures,
        lambda: forget_ended(agent._folders, agent._workers.values()),
        agent._workers.values,
        agent.processes,
        agent._tools.cpu.tidy,
    )
    return Housekeeper(SYSTEM_CLOCK, agent._folders, ways)


async def written(node: Node, name: str) -> None:
    async def said() -> bool:
        return "written" in await node.logs(name)

    await eventually(said, f"{name} has written")


async def condition(node: Node, kind: str) -> tuple[str, str]:
    found = find((await node.client.get(NodeObject, "n1")).status.conditions, kind)
    assert found is not None
    return found.status, found.reason


async def test_a_full_disk_costs_the_pod_that_fills_it_and_no_other(node: Node):
    scarcity = Scarcity()
    keeper = housekeeper(node, scarcity)
    await node.create("done", {"sh": "echo done"})
    await node.create("greedy", {"sh": WRITES})
    await node.create("modest", {"sh": "exec sleep 600"})
    assert await node.output("done") == "done\n"
    for name in ("greedy", "modest"):
        await node.phase(name, "Running")
    await written(node, "greedy")

    scarcity.left["ephemeral-storage"] = 100
    await keeper.look()
    assert await condition(node, DISK) == ("True", "KubeletHasDiskPressure")
    evicted = await node.phase("greedy", "Failed")
    assert evicted.status.reason == "Evicted"
    assert evicted.status.message.startswith("The node was low on resource: ephemeral-storage. Threshold quantity: 1Mi")
    assert "Container main was using" in evicted.status.message
    assert await node.logs("done") == ""  # what ended pods printed goes before pods that run
    assert (await node.pod("done")).status.phase == "Succeeded"

    scarcity.left["ephemeral-storage"] = PLENTY
    await keeper.look()
    assert await condition(node, DISK) == ("False", "KubeletHasNoDiskPressure")
    assert (await node.pod("modest")).status.phase == "Running"


async def test_short_memory_costs_the_pod_that_takes_it(node: Node):
    scarcity = Scarcity()
    keeper = housekeeper(node, scarcity)
    holds = {"name": "m", "emptyDir": {"medium": "Memory"}}
    mount = {"volumeMounts": [{"name": "m", "mountPath": "/m"}]}
    script = "head -c 9000000 /dev/zero > /m/f; echo written; exec sleep 600"
    await node.create("greedy", {"sh": script, **mount}, volumes=[holds])
    await node.create("modest", {"sh": "exec sleep 600"})
    for name in ("greedy", "modest"):
        await node.phase(name, "Running")
    await written(node, "greedy")
    scarcity.left["memory"] = 0
    await keeper.look()
    assert await condition(node, MEMORY) == ("True", "KubeletHasInsufficientMemory")
    assert (await node.phase("greedy", "Failed")).status.reason == "Evicted"
    assert (await node.pod("modest")).status.phase == "Running"


async def test_one_pod_goes_at_a_time(node: Node):
    scarcity = Scarcity()
    keeper = housekeeper(node, scarcity)
    names = ("one", "two", "three")
    for name in names:
        await node.create(name, {"sh": WRITES})
    for name in names:
        await node.phase(name, "Running")
        await written(node, name)
    scarcity.left["ephemeral-storage"] = 0

    async def failed() -> int:
        return [(await node.pod(name)).status.phase for name in names].count("Failed")

    await keeper.look()
    await keeper.look()  # the first is on its way still, or has just gone
    assert await failed() <= 2

    async def all_have_gone() -> bool:
        await keeper.look()
        return await failed() == len(names)

    await eventually(all_have_gone, "the end of all")


async def test_few_process_numbers_are_told_and_cost_nobody(node: Node):
    scarcity = Scarcity()
    await node.create("p", {"sh": "exec sleep 600"})
    await node.phase("p", "Running")
    scarcity.left["pids"] = 0
    await housekeeper(node, scarcity).look()
    assert await condition(node, PROCESSES) == ("True", "KubeletHasInsufficientPID")
    assert (await node.pod("p")).status.phase == "Running"


async def test_a_condition_that_could_not_be_told_is_told_again(node: Node):
    scarcity, told = Scarcity(), []

    async def report(conditions: frozenset[str]) -> None:
        told.append(conditions)
        if len(told) == 1:
            raise TransportError("the API server is away")

    keeper = housekeeper(node, scarcity, report)
    scarcity.left["pids"] = 0
    for _ in range(3):
        await keeper.look()
    assert told == [frozenset({PROCESSES})] * 2


async def test_a_machine_with_enough_of_everything_is_left_alone(node: Node):
    async def report(conditions: frozenset[str]) -> None:
        pytest.fail(f"told: {conditions}")

    await housekeeper(node, Scarcity(), report).look()
