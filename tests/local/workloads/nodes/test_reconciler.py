"""Nodes that fall silent, and what becomes of their pods, on virtual time."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.conditions import find
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.coordination import Lease, LeaseSpec
from ketch.kube.types.core import Node, PersistentVolumeClaim, Taint
from ketch.kube.types.pods import Pod, Toleration
from ketch.kube.types.volumes import ClaimSpec, ClaimTemplate, EphemeralVolume, ResourceRequirements, Volume
from ketch.local.workloads.nodes import eviction, podgc
from ketch.local.workloads.nodes import reconciler as nodes
from ketch.local.workloads.nodes.eviction import stays_for
from ketch.local.workloads.storage import ephemeral

KEY = ObjectKey("", "node")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, nodes.setup, eviction.setup, podgc.setup) as world:
        await world.node()
        await beat(world)
        yield world


async def beat(world) -> None:
    """The agent's sign of life."""
    meta = ObjectMeta(name="node", namespace="kube-node-lease")
    await world.client.apply(Lease(metadata=meta, spec=LeaseSpec(renew_time=world.now())), manager="agent")
    await world.settle()


async def place(world, name: str, **spec) -> None:
    await world.client.create(a_pod(name, node_name="node", **spec))
    await world.settle()


async def state(world) -> tuple[str, list[tuple[str, str]]]:
    node = await world.get(Node, "node")
    taints = [(each.key.rpartition("/")[2], each.effect) for each in node.spec.taints]
    return find(node.status.conditions, "Ready").status, taints


BOTH = [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]


async def test_a_node_that_shows_signs_of_life_stays_ready(world):
    for _ in range(5):
        await world.pass_time(30)
        await beat(world)
    assert await state(world) == ("True", [])
    assert await world.settles("nodes", KEY, ObjectKey("", "never"))


async def test_a_silent_node_is_unknown_and_comes_back(world):
    await world.pass_time(39)
    assert await state(world) == ("True", [])
    await world.pass_time(2)
    assert await state(world) == ("Unknown", BOTH)
    ready = find((await world.get(Node, "node")).status.conditions, "Ready")
    assert (ready.reason, ready.message) == ("NodeStatusUnknown", "Kubelet stopped posting node status.")
    assert await world.settles("nodes", KEY)
    await world.edit(Node, "node", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "status")
    await beat(world)
    assert await state(world) == ("True", [])


async def test_a_node_that_says_it_is_not_ready_is_tainted_and_others_taints_stay(world):
    await world.edit(Node, "node", {"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}})
    await world.edit(Node, "node", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "status")
    await world.settle()
    both = [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]
    assert await state(world) == ("False", [("gpu", "NoSchedule"), *both])


async def test_a_node_that_runs_short_takes_no_pods_until_it_has_room(world):
    def told(status: str) -> dict:
        kinds = ("MemoryPressure", "DiskPressure", "PIDPressure")
        ready = {"type": "Ready", "status": "True"}
        return {"status": {"conditions": [ready, *({"type": kind, "status": status} for kind in kinds)]}}

    await world.edit(Node, "node", {"spec": {"taints": [{"key": "disk-pressure", "effect": "NoExecute"}]}})
    await world.edit(Node, "node", told("True"), "status")
    await beat(world)
    own = [(f"{kind}-pressure", "NoSchedule") for kind in ("memory", "disk", "pid")]
    found = await world.get(Node, "node")
    assert [(each.key.rpartition("/")[2], each.effect) for each in found.spec.taints] == [
        ("disk-pressure", "NoExecute"),
        *own,
    ]
    await world.edit(Node, "node", told("False"), "status")
    await beat(world)
    (left,) = (await world.get(Node, "node")).spec.taints
    assert (left.key, left.effect) == ("disk-pressure", "NoExecute")


async def test_pods_of_a_silent_node_are_evicted_after_five_minutes(world):
    await place(world, "a")
    await place(world, "hurried", tolerations=(_unreachable(10),))
    await place(world, "loyal", tolerations=(_unreachable(None),))
    await world.pass_time(41)
    await world.pass_time(9)
    assert await going(world) == []
    await world.pass_time(2)
    assert await going(world) == ["hurried"]
    await world.pass_time(290)
    assert await going(world) == ["a", "hurried"]
    condition = find((await world.get(Pod, "a")).status.conditions, "DisruptionTarget")
    assert condition.reason == "DeletionByTaintManager"
    assert await world.settles("eviction", ObjectKey(NAMESPACE, "a"), ObjectKey(NAMESPACE, "loyal"))


def _unreachable(seconds: int | None) -> Toleration:
    return Toleration(
        key="node.kubernetes.io/unreachable", operator="Exists", effect="NoExecute", toleration_seconds=seconds
    )


async def going(world) -> list[str]:
    return [pod.metadata.name for pod in await world.all(Pod) if pod.metadata.deletion_timestamp is not None]


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        pytest.param((), 0, id="none"),
        pytest.param((Toleration(operator="Exists"),), None, id="everything"),
        pytest.param((Toleration(key="k", operator="Exists", toleration_seconds=60),), 50, id="for a while"),
        pytest.param(
            (
                Toleration(key="k", operator="Exists", toleration_seconds=60),
                Toleration(key="k", operator="Equal", value="v", toleration_seconds=30),
            ),
            20,
            id="the shortest counts",
        ),
        pytest.param((Toleration(key="k", operator="Equal", value="other"),), 0, id="another value"),
        pytest.param((Toleration(key="k", operator="Exists", effect="NoSchedule"),), 0, id="another effect"),
    ],
)
def test_how_long_a_pod_stays(tolerations, seconds):
    taint = Taint(key="k", value="v", effect="NoExecute", time_added=NOW - timedelta(seconds=10))
    assert stays_for(a_pod(tolerations=tolerations), [taint], NOW) == seconds


async def test_pods_of_a_node_that_is_gone_go_in_the_end(world):
    await place(world, "a")
    await world.delete(Node, "node")
    await world.pass_time(39)
    assert await world.get(Pod, "a")
    await world.pass_time(2)
    assert await world.get(Pod, "a") is None


async def test_a_node_that_returns_in_time_keeps_its_pods(world):
    await place(world, "a")
    await world.delete(Node, "node")
    await world.pass_time(30)
    await world.node()
    await world.pass_time(20)
    assert await world.get(Pod, "a")
    await world.delete(Node, "node")
    await world.pass_time(39)
    assert await world.get(Pod, "a")  # the patience begins anew


async def test_of_too_many_pods_that_have_ended_the_oldest_go(tmp_path):
    async with a_world(tmp_path, partial(podgc.setup, most_ended=2)) as world:
        for number in range(4):
            await world.client.create(a_pod(f"p{number}"))
            await world.play(await world.get(Pod, f"p{number}"), "Succeeded")
            await world.pass_time(1)
        assert [pod.metadata.name for pod in await world.all(Pod)] == ["p2", "p3"]


async def test_an_ephemeral_volume_has_a_claim_of_its_own(tmp_path):
    async with a_world(tmp_path, ephemeral.setup) as world:
        spec = ClaimSpec(access_modes=("ReadWriteOnce",), resources=ResourceRequirements(requests={"storage": "1Gi"}))
        template = ClaimTemplate(metadata=ObjectMeta(labels={"a": "b"}), spec=spec)
        await world.client.create(
            a_pod("p", volumes=(Volume(name="scratch", ephemeral=EphemeralVolume(volume_claim_template=template)),))
        )
        await world.settle()
        (claim,) = await world.all(PersistentVolumeClaim)
        assert (claim.metadata.name, claim.metadata.labels) == ("p-scratch", {"a": "b"})
        assert claim.metadata.owner_references[0].name == "p"
        assert await world.settles("ephemeral-volumes", ObjectKey(NAMESPACE, "p"), ObjectKey(NAMESPACE, "never"))
        await world.delete(PersistentVolumeClaim, "p-scratch")
        await world.settle()
        assert len(await world.all(PersistentVolumeClaim)) == 1
