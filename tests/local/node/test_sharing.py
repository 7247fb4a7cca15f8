"""Pods whose containers see each other's processes, on a real node."""

import os
from pathlib import Path

from tests.waiting import eventually

from ketch.local.node.sharing import PROCESSES
from ketch.local.node.shutdown import end_all_containers
from ketch.local.node.starting import container_directory
from ketch.local.node.volumes.places import Folders
from ketch.local.sandbox.container import Container

LONG, LEFT = f"86{os.getpid()}", f"97{os.getpid()}"
"""Seconds that nobody else on this machine sleeps."""
SLEEP = f"exec sleep {LONG}"


def init_of(node, pod):
    """The init of a pod whose containers share their processes."""
    return Container.adopt(container_directory(Folders(node.data), pod.metadata.uid, PROCESSES, 0))


def alive(*words):
    """Processes of this machine with these words as their command line."""
    text = b"".join(word.encode() + b"\0" for word in words)

    def said(path):
        try:
            return path.read_bytes()
        except OSError:
            return b""

    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if said(path) == text]


async def test_containers_see_and_signal_each_other(node):
    looks = f"""
while ! pid=$(pgrep -xf 'sleep {LONG[:-1]}[{LONG[-1]}]'); do sleep 0.05; done
cat /proc/1/comm
kill -TERM $pid && echo ended it
"""
    watched = {"name": "watched", "sh": SLEEP}
    await node.create("open", watched, {"name": "looks", "sh": looks}, shareProcessNamespace=True)
    ended = await node.phase("open", "Failed")
    codes = {each.name: each.state.terminated.exit_code for each in ended.status.container_statuses}
    assert codes == {"watched": 143, "looks": 0}
    assert await node.logs("open", "looks") == "bwrap\nended it\n"
    await node.delete("open")
    await node.gone("open")
    await node.cleared()


async def test_another_user_among_them_is_refused(node):
    other = {"runAsUser": 1000}
    await node.create("other", {}, shareProcessNamespace=True, securityContext=other)
    pod = await node.waits_for("other", "CreateContainerConfigError")
    assert "runAsGroup must be 0" in pod.status.container_statuses[0].state.waiting.message


async def test_what_a_container_leaves_behind_ends_with_it_and_the_rest_with_the_pod(node):
    leaves = {"name": "leaves", "sh": f"sleep {LEFT} & sleep 0.3; exit 0"}
    await node.create("tidy", leaves, {"name": "stays", "sh": SLEEP}, shareProcessNamespace=True)

    def over(pod):
        return any(each.name == "leaves" and each.state.terminated for each in pod.status.container_statuses)

    pod = await node.until("tidy", over)
    assert alive("sleep", LEFT) == []
    assert len(alive("sleep", LONG)) == 1
    init = init_of(node, pod)
    assert init.running
    await node.stop()
    await node.start()
    assert (await node.pod("tidy")).status.phase == "Running"
    await node.delete("tidy", 0)
    await node.gone("tidy")
    await node.cleared()
    await eventually(lambda: not alive("sleep", LONG) and not init.running)


async def test_they_end_with_the_platform_in_time(node):
    script = "trap 'echo asked; exit 0' TERM; echo ready; while true; do sleep 0.05; done"
    pod = await node.create("late", {"sh": script}, shareProcessNamespace=True)
    await node.phase("late", "Running")
    log = node.data / "pods" / pod.metadata.uid / "logs" / "main" / "0.log"
    await eventually(lambda: "ready" in log.read_text())
    init = init_of(node, pod)
    await node.stop()
    end_all_containers(node.data)
    assert "asked" in log.read_text()
    assert not init.running
