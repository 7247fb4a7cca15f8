"""Ephemeral containers on a node: they join, see their target's processes, and hold nothing up."""

from tests.local.node.conftest import NAMESPACE
from tests.local.node.machines import Play, a_pod

from ketch.kube.codec import decode
from ketch.kube.transport import STRATEGIC_MERGE_PATCH, Request
from ketch.kube.types.core import Pod
from ketch.local.node.pods import events, orders


def with_ephemeral(pod, *containers):
    raw = pod.to_json()
    raw["spec"]["ephemeralContainers"] = [{"image": "busybox", **each} for each in containers]
    return decode(Pod, raw)


def joined(play, *containers):
    play.pod = with_ephemeral(play.pod, *containers)
    play.feed(events.PodChanged(play.pod))
    return play.feed(events.ImageReady("busybox", "sha256:2"))


def test_one_joins_a_pod_whose_init_container_never_ends():
    play = Play(a_pod({}, inits=({"name": "first"},), policy="Never"))
    play.begin()
    play.started("first")
    joined(play, {"name": "look"})
    play.started("look")
    (status,) = play.status.ephemeral_container_statuses
    assert (status.name, status.state.running is not None, status.ready) == ("look", True, False)
    assert play.status.phase == "Pending"
    play.exited(1, "look")
    assert play.status.ephemeral_container_statuses[0].state.terminated.exit_code == 1
    play.after(600)
    assert [order.container for order in play.of(orders.StartContainer)] == ["first", "look"]


def test_it_is_not_what_makes_a_pod_ready_and_does_not_keep_it():
    play = Play(a_pod({}, policy="Never"))
    play.begin()
    play.started()
    joined(play, {"name": "look"})
    assert play.condition("Ready").status == "True"
    play.started("look")
    play.exited()
    assert ("Killing", "Stopping container look") in play.reasons
    play.after(31)
    assert orders.Kill("look", 0) in play.all
    play.exited(137, "look")
    assert play.status.phase == "Succeeded"


async def test_a_container_among_the_processes_of_another(node):
    await node.create("watched", {"sh": "exec sleep 4321"}, {"sh": "exec sleep 5432", "name": "other"})
    await node.phase("watched", "Running")
    script = 'for one in 432[1] 543[2]; do pgrep -xf "sleep $one" >/dev/null && echo seen; done; hostname; exit 3'
    look = {"name": "look", "image": "busybox", "targetContainerName": "main", "command": ["sh", "-c", script]}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/watched/ephemeralcontainers"
    body = {"spec": {"ephemeralContainers": [look, {**look, "name": "alone", "targetContainerName": ""}]}}
    await node.api.transport().request(Request("PATCH", path, {}, body, STRATEGIC_MERGE_PATCH))

    def both_ended(pod):
        ended = [each for each in pod.status.ephemeral_container_statuses if each.state.terminated]
        return ended if len(ended) == 2 else None

    pod = await node.until("watched", both_ended)
    assert {each.state.terminated.exit_code for each in pod.status.ephemeral_container_statuses} == {3}
    assert pod.status.phase == "Running"
    assert await node.logs("watched", "look") == "seen\nwatched\n"
    assert await node.logs("watched", "alone") == "watched\n"
    assert all(each.state.running for each in pod.status.container_statuses)
    await node.delete("watched", 0)
    await node.gone("watched")
