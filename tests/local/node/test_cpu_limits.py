"""CPU limits are the kernel's to keep, where this process may ask it to."""

import asyncio
from pathlib import Path

import pytest
from tests.local.node.conftest import NAMESPACE, Node
from tests.local.node.streams.clients import connected
from tests.waiting import eventually

from ketch.local.node.cpulimits import CPULimits

LIMIT = {"resources": {"limits": {"cpu": "200m"}}}


def groups(node: Node) -> list[Path]:
    """The groups of the node's containers; skips where there can be none."""
    assert node.agent is not None
    root = node.agent._tools.cpu._root
    if root is None:
        pytest.skip("the kernel lets us make no cgroups with the cpu controller here")
    return [path for path in root.iterdir() if path.is_dir()] if root.exists() else []


def inside(group: Path) -> list[bytes]:
    """The command lines of a group's processes."""
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (group / "cgroup.procs").read_text().split()]


async def test_a_limit_holds_for_all_of_a_container_and_ends_with_it(node: Node):
    groups(node)
    pod = await node.create("p", {"sh": "sleep 600 & exec sleep 600", **LIMIT})
    await node.phase("p", "Running")
    (group,) = groups(node)
    assert group.name == f"{pod.metadata.uid}-main-0"
    quota = group / "cpu.cfs_quota_us"
    assert (quota.read_text() if quota.exists() else (group / "cpu.max").read_text()).split()[0] == "20000"
    assert [line.split(b"\0")[0] for line in inside(group)].count(b"sleep") == 2

    path = f"/exec/{NAMESPACE}/p/main"
    async with connected(node.data, path, command=["sleep", "601"]):
        await eventually(lambda: any(b"601" in line for line in inside(group)))
    await node.delete("p", 0)
    await node.gone("p")
    await eventually(lambda: not groups(node))


async def test_a_container_without_a_limit_has_no_group(node: Node):
    groups(node)
    await node.create("p", {"sh": "sleep 600"})
    await node.phase("p", "Running")
    assert groups(node) == []


async def test_what_an_agent_that_was_killed_has_left_is_removed(tmp_path: Path):
    before = CPULimits(tmp_path)
    before.prepare()
    if before._root is None:
        pytest.skip("the kernel lets us make no cgroups with the cpu controller here")
    (before._root / "left").mkdir(parents=True)
    after = CPULimits(tmp_path)
    after.prepare()
    assert after._root == before._root
    assert not before._root.exists()


async def test_a_group_in_which_somebody_still_is_goes_later(tmp_path: Path):
    limits = CPULimits(tmp_path)
    limits.prepare()
    if (root := limits._root) is None:
        pytest.skip("the kernel lets us make no cgroups with the cpu controller here")
    group = root / "u-main-0"
    group.mkdir(parents=True)
    slow = await asyncio.create_subprocess_exec("sleep", "600")
    limits.join(group.name, [slow.pid])
    limits.release_pod("u")
    assert group.exists()
    slow.kill()
    await slow.wait()
    limits.tidy()
    assert not root.exists()


async def test_a_process_of_the_machine_is_limited_without_its_neighbours(tmp_path: Path):
    limits = CPULimits(tmp_path)
    limits.prepare()
    if (root := limits._root) is None:
        pytest.skip("the kernel lets us make no cgroups with the cpu controller here")
    slow = await asyncio.create_subprocess_exec("sleep", "600")
    limits.limit("u-main-0", slow.pid, 10_000)
    found = (root / "u-main-0" / "cgroup.procs").read_text().split()
    slow.kill()
    await slow.wait()
    limits.release("u-main-0")
    assert found == [str(slow.pid)]
