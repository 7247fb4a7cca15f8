"""The agent ends, by whatever means; containers go on; the next one takes them over and loses nothing."""

import asyncio
import sys
from contextlib import asynccontextmanager

from tests.programs import start_program
from tests.waiting import eventually

from ketch.kube.types.coordination import Lease
from ketch.kube.types.core import Node as NodeObject
from ketch.kube.types.core import ServiceAccount
from ketch.local.apiserver.server import APIServer
from ketch.local.node import agent
from ketch.local.node.shutdown import end_all_containers

TALK = "i=0; while test $i -lt 40; do echo $i; i=$((i + 1)); sleep 0.05; done; exit 5"


async def test_containers_outlive_the_agent_and_are_adopted_with_their_restarts(node):
    await node.create("keeps", {"sh": "sleep 100"}, restartPolicy="Always")
    before = await node.phase("keeps", "Running")
    await node.stop()
    await node.start()
    await node.create("later", {"sh": "exit 0"})
    await node.phase("later", "Succeeded")
    after = await node.pod("keeps")
    assert after.status.container_statuses == before.status.container_statuses
    assert after.status.conditions == before.status.conditions
    await node.delete("keeps", 1)
    await node.gone("keeps")


async def test_an_exit_while_no_agent_was_there_is_reported_with_its_code(node):
    await node.create("code", {"sh": "sleep 0.3; printf bye > /dev/termination-log; exit 9"})
    await node.phase("code", "Running")
    await node.stop()
    (record,) = (node.data / "pods").glob("*/containers/main/0")
    await eventually((record / "exit.json").exists)
    await node.start()
    pod = await node.phase("code", "Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.message, pod.status.container_statuses[0].restart_count) == (9, "bye", 0)


async def test_who_ended_because_the_platform_did_is_told_apart(node):
    await node.create("cut", {"sh": "sleep 100"})
    await node.create("quick", {"sh": "trap 'exit 0' TERM; while true; do sleep 0.05; done"})
    for name in ("cut", "quick"):
        await node.phase(name, "Running")
    await node.stop()
    await asyncio.to_thread(end_all_containers, node.data)
    await node.start()
    ends = [(await node.phase(name, phase)).status for name, phase in (("cut", "Failed"), ("quick", "Succeeded"))]
    reasons = [status.container_statuses[0].state.terminated.reason for status in ends]
    assert reasons == ["NodeShutdown", "Completed"]


async def test_a_pod_deleted_while_no_agent_was_there_is_cleared_away(node):
    await node.create("stray", {"sh": "sleep 100"})
    await node.phase("stray", "Running")
    await node.stop()
    await node.delete("stray", 0)
    await node.gone("stray")
    await node.start()
    await node.cleared()
    assert not await node.network.attachments()


async def test_a_pod_deleted_while_it_is_adopted_is_cleared_away(node, monkeypatch):
    await node.create("stray", {"sh": "sleep 100"})
    await node.phase("stray", "Running")
    await node.stop()
    adopt = agent.adopt

    async def adopt_late(folders, pod):
        found = await adopt(folders, pod)
        await node.delete("stray", 0)
        await eventually(lambda: not node.agent._pods.list())
        return found

    monkeypatch.setattr(agent, "adopt", adopt_late)
    await node.start()
    await node.cleared()
    assert not await node.network.attachments()


async def test_a_pod_whose_deletion_began_without_an_agent_ends_in_order(node):
    await node.create("begun", {"sh": "sleep 100"})
    await node.phase("begun", "Running")
    await node.stop()
    await node.delete("begun", 1)
    await node.start()
    await node.gone("begun")


@asynccontextmanager
async def an_agent(node, kubeconfig):
    """The agent as its own process, ready."""
    argv = [sys.executable, "-m", "ketch.local.node.main", "--data-dir", str(node.data)]
    argv += ["--kubeconfig", str(kubeconfig), "--node-name", "n1"]
    process = await asyncio.to_thread(start_program, argv)
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def test_the_real_agent_survives_kill_9_over_tls(node, api: APIServer, tmp_path):
    """As an operator sees it: its own process, its own certificate, its own rights."""
    await node.stop()
    listener = node.listen()
    await api.serve([listener])
    kubeconfig = tmp_path / "node.kubeconfig"
    api.write_node_kubeconfig(kubeconfig, f"https://127.0.0.1:{listener.getsockname()[1]}", "n1")

    async with an_agent(node, kubeconfig) as first:
        await node.create("talk", {"sh": TALK})
        before = await node.phase("talk", "Running")
        first.kill()
    async with an_agent(node, kubeconfig) as second:
        pod = await node.phase("talk", "Failed")
        (status,) = pod.status.container_statuses
        assert (status.state.terminated.exit_code, status.restart_count) == (5, 0)
        assert status.container_id == before.status.container_statuses[0].container_id
        assert await node.logs("talk") == "".join(f"{i}\n" for i in range(40))
        second.terminate()
        assert await asyncio.to_thread(second.wait) == 0


async def test_the_node_says_what_it_is_and_that_it_lives(node):
    found = await node.client.get(NodeObject, "n1")
    assert {"cpu", "memory", "pods", "ephemeral-storage"} <= set(found.status.capacity)
    assert [each.status for each in found.status.conditions if each.type == "Ready"] == ["True"]
    assert found.metadata.annotations["node.ketch.dev/socket"] == str(node.data / "run" / "node.sock")
    assert found.metadata.labels["kubernetes.io/hostname"] == "n1"
    lease = await node.client.get(Lease, "n1", "kube-node-lease")
    assert lease.spec.holder_identity == "n1"


async def test_a_namespace_without_its_account_only_delays_a_pod(node):
    await node.client.delete(ServiceAccount, "default", "default")
    await node.create("early", {"sh": "exit 0"}, automountServiceAccountToken=True)
    assert await node.messages("FailedMount")
    await node.account()
    await node.phase("early", "Succeeded")
