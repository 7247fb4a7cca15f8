"""ReplicaSets on the real API server, their pods played."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.meta import LabelSelector, ObjectKey, ObjectMeta
from ketch.kube.owners import controller_of
from ketch.kube.types.apps import ReplicaSet, ReplicaSetSpec
from ketch.kube.types.pods import Pod, PodCondition, PodStatus, PodTemplateSpec
from ketch.local.workloads import replicasets
from ketch.local.workloads.pods import to_delete
from ketch.local.workloads.replicasets import next_look, next_status

KEY = ObjectKey(NAMESPACE, "web")
LABELS = {"app": "web"}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def a_replica_set(replicas: int = 3, **spec) -> ReplicaSet:
    template = PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=a_pod().spec)
    spec = ReplicaSetSpec(replicas=replicas, selector=LabelSelector(match_labels=LABELS), template=template, **spec)
    return ReplicaSet(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=spec)


def seen(name: str, *, phase: str = "Running", ready: float | None = None, node: str = "n", age: float = 100, **notes):
    """A pod as the cache shows it, ready for so many seconds."""
    conditions = ()
    if ready is not None:
        since = NOW - timedelta(seconds=ready)
        conditions = (PodCondition(type="Ready", status="True", last_transition_time=since),)
    pod = a_pod(name, LABELS, node_name=node)
    meta = ObjectMeta(
        name=name, namespace=NAMESPACE, labels=LABELS, creation_timestamp=NOW - timedelta(seconds=age), **notes
    )
    return Pod(metadata=meta, spec=pod.spec, status=PodStatus(phase=phase, conditions=conditions))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(seen("a", node=""), seen("b", phase="Pending"), id="no node before no start"),
        pytest.param(seen("a", phase="Pending"), seen("b"), id="not begun before running"),
        pytest.param(seen("a"), seen("b", ready=5), id="not ready before ready"),
        pytest.param(
            seen("a", ready=9, annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"}),
            seen("b", ready=5),
            id="cheap before dear",
        ),
        pytest.param(seen("a", ready=5), seen("b", ready=9), id="shortly ready before long ready"),
        pytest.param(seen("a", age=5), seen("b", age=9), id="young before old"),
    ],
)
def test_the_pod_whose_loss_is_least_goes_first(first, second):
    assert [pod.metadata.name for pod in to_delete([second, first], 1)] == ["a"]


def test_of_equals_the_one_on_the_fuller_node_goes():
    pods = [seen("a", ready=9, node="lonely"), seen("b", ready=9, node="full"), seen("c", ready=9, node="full")]
    assert to_delete(pods, 1)[0].spec.node_name == "full"


@pytest.mark.parametrize(
    ("ready", "available", "again"),
    [
        pytest.param(None, 0, None, id="not ready"),
        pytest.param(4, 0, 6.0, id="ready for too short a time"),
        pytest.param(10, 1, None, id="ready for long enough"),
    ],
)
def test_available_is_ready_for_min_ready_seconds(ready, available, again):
    replica_set, pods = a_replica_set(min_ready_seconds=10), [seen("a", ready=ready)]
    assert next_status(replica_set, pods, None, NOW).available_replicas == available
    assert next_look(replica_set, pods, NOW) == again


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, replicasets.setup) as world:
        await world.client.create(a_replica_set())
        await world.settle()
        yield world


async def names(world) -> list[str]:
    return [pod.metadata.name for pod in await world.all(Pod) if pod.metadata.deletion_timestamp is None]


async def status(world):
    found = await world.get(ReplicaSet, "web")
    return found.status.replicas, found.status.ready_replicas, found.status.available_replicas


async def test_it_converges_and_reports(world):
    pods = await world.all(Pod)
    assert len(pods) == 3
    assert all(pod.metadata.name.startswith("web-") and controller_of(pod).kind == "ReplicaSet" for pod in pods)
    assert await status(world) == (3, 0, 0)
    await world.play_all()
    assert await status(world) == (3, 3, 3)
    assert len(await world.events("SuccessfulCreate")) == 3


@pytest.mark.parametrize("replicas", [0, 2, 3, 7])
async def test_a_lost_pod_and_a_new_size_end_at_the_spec(world, replicas):
    await world.delete(Pod, (await names(world))[0])
    await world.edit(ReplicaSet, "web", {"spec": {"replicas": replicas}})
    await world.settle()
    assert len(await names(world)) == replicas
    found = await world.get(ReplicaSet, "web")
    assert (found.status.replicas, found.status.observed_generation) == (replicas, found.metadata.generation)


async def test_a_failed_pod_is_replaced(world):
    await world.play((await world.all(Pod))[0], "Failed")
    await world.settle()
    assert len(await names(world)) == 4
    assert await status(world) == (3, 0, 0)


async def test_a_loose_pod_is_adopted_and_one_that_leaves_is_released(world):
    left = (await names(world))[0]
    await world.edit(Pod, left, {"metadata": {"labels": {"app": "other"}}})
    await world.settle()
    assert controller_of(await world.get(Pod, left)) is None
    assert len(await names(world)) == 4
    await world.edit(Pod, left, {"metadata": {"labels": {"app": "web"}}})
    await world.settle()
    owned = [pod for pod in await world.all(Pod) if controller_of(pod)]
    assert len(owned) == 3


async def test_it_settles(world):
    await world.play_all()
    assert await world.settles("replicasets", KEY)


async def test_pods_become_available_in_time(world):
    await world.edit(ReplicaSet, "web", {"spec": {"minReadySeconds": 30}})
    await world.play_all()
    assert await status(world) == (3, 3, 0)
    await world.pass_time(31)
    assert await status(world) == (3, 3, 3)


async def test_a_pod_that_cannot_be_made_is_told(world):
    await world.edit(ReplicaSet, "web", {"spec": {"template": {"spec": {"serviceAccountName": "nobody"}}}})
    await world.delete(Pod, (await names(world))[0])
    await world.until(lambda: _failing(world))
    condition = (await world.get(ReplicaSet, "web")).status.conditions[0]
    assert (condition.type, condition.reason) == ("ReplicaFailure", "FailedCreate")
    assert 'serviceaccount "nobody" not found' in condition.message


async def _failing(world) -> bool:
    return bool((await world.get(ReplicaSet, "web")).status.conditions)


async def test_it_ends_quietly(world):
    await world.delete(ReplicaSet, "web")
    assert await world.settles("replicasets", KEY, ObjectKey(NAMESPACE, "never"))
    assert len(await names(world)) == 3  # they are the garbage collector's
