"""PodDisruptionBudgets on the real API server: what they count, and that evictions ask them."""

from datetime import UTC, datetime

import msgspec
import pytest
from tests.local.workloads.test_deployments import a_deployment
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.codec import decode
from ketch.kube.conditions import find
from ketch.kube.errors import InternalError, TooManyRequests
from ketch.kube.meta import ObjectKey
from ketch.kube.types.pods import Pod
from ketch.kube.types.policy import PodDisruptionBudget
from ketch.local.workloads import budgets, deployments, replicasets
from ketch.local.workloads.budgets import Counts, count

KEY = ObjectKey(NAMESPACE, "keep")


def a_budget(name: str = "keep", **spec) -> PodDisruptionBudget:
    spec.setdefault("selector", {"matchLabels": {"app": "web"}})
    return decode(PodDisruptionBudget, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})


def ready(name: str) -> Pod:
    raw = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    pod = a_pod(name)
    return msgspec.structs.replace(pod, status=decode(type(pod.status), raw))


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        pytest.param({"minAvailable": 2}, Counts(3, 2, 4), id="so many must serve"),
        pytest.param({"minAvailable": "50%"}, Counts(3, 3, 5), id="half of what owners want"),
        pytest.param({"maxUnavailable": 1}, Counts(3, 4, 5), id="one of what owners want may be missing"),
        pytest.param({"maxUnavailable": "30%"}, Counts(3, 3, 5), id="a share, rounded up, may be missing"),
        pytest.param({"maxUnavailable": 9}, Counts(3, 0, 5), id="more than there are may be missing"),
        pytest.param({}, Counts(3, 1, 4), id="neither: one must serve"),
    ],
)
def test_counting(spec, counts):
    pods = [*map(ready, "abc"), a_pod("d")]
    assert count(a_budget(**spec), pods, 5, {}) == counts


def test_one_that_was_evicted_counts_no_more():
    pods = [*map(ready, "abc")]
    counted = count(a_budget(minAvailable=2), pods, 3, {"a": datetime(2030, 1, 1, tzinfo=UTC)})
    assert (counted.current, counted.allowed) == (2, 0)


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, replicasets.setup, deployments.setup, budgets.setup) as world:
        await world.client.create(a_deployment())
        await world.settle()
        for pod in await world.all(Pod):  # on a node: one that is evicted takes its time to go
            target = {"target": {"name": "node"}}
            await world.client.create_subresource(Pod, pod.metadata.name, NAMESPACE, "binding", target)
        await world.play_all()
        yield world


async def status(world):
    await world.settle()
    return (await world.get(PodDisruptionBudget, "keep")).status


async def evict(world, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    await world.client.create_subresource(Pod, name, NAMESPACE, "eviction", body)


async def test_it_reports_and_settles(world):
    await world.client.create(a_budget(maxUnavailable=1))
    found = await status(world)
    assert (found.disruptions_allowed, found.current_healthy) == (1, 3)
    assert (found.desired_healthy, found.expected_pods, found.observed_generation) == (2, 3, 1)
    condition = find(found.conditions, "DisruptionAllowed")
    assert (condition.status, condition.reason) == ("True", "SufficientPods")
    assert await world.settles("budgets", KEY, ObjectKey(NAMESPACE, "never"))
    await world.edit(PodDisruptionBudget, "keep", {"spec": {"maxUnavailable": 0}})
    found = await status(world)
    assert (found.disruptions_allowed, find(found.conditions, "DisruptionAllowed").reason) == (0, "InsufficientPods")


async def test_evictions_take_what_is_allowed_and_no_more(world):
    await world.client.create(a_budget(minAvailable=2))
    await world.settle()
    first, second, third = [pod.metadata.name for pod in await world.all(Pod)]
    await evict(world, first)
    gone = await world.get(Pod, first)
    assert gone.metadata.deletion_timestamp is not None
    assert find(gone.status.conditions, "DisruptionTarget").reason == "EvictionByEvictionAPI"
    with pytest.raises(TooManyRequests, match="it would violate the pod's disruption budget") as refused:
        await evict(world, second)
    assert refused.value.details.retry_after_seconds == 0
    assert "needs 2 healthy pods and has" in refused.value.details.causes[0].message
    await world.settle()
    await world.play_all()  # the one that came in its place serves
    assert (await status(world)).disruptions_allowed == 1
    await evict(world, third)


async def test_an_eviction_that_is_tried_takes_nothing(world):
    await world.client.create(a_budget(minAvailable=2))
    await world.settle()
    name = (await world.all(Pod))[0].metadata.name
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
    await world.client.create_subresource(
        Pod, name, NAMESPACE, "eviction", {**body, "deleteOptions": {"dryRun": ["All"]}}
    )
    found = await status(world)
    assert (found.disruptions_allowed, found.disrupted_pods) == (1, {})
    pod = await world.get(Pod, name)
    assert pod.metadata.deletion_timestamp is None
    assert find(pod.status.conditions, "DisruptionTarget") is None


async def test_two_at_once_do_not_share_what_is_left(world):
    await world.client.create(a_budget(minAvailable=2))
    await world.settle()
    world.manager._controllers["budgets"].queue.close()  # nobody counts anew in between
    names = [pod.metadata.name for pod in await world.all(Pod)]
    await evict(world, names[0])
    with pytest.raises(TooManyRequests):
        await evict(world, names[1])


async def test_one_that_does_not_serve_may_go_and_two_budgets_are_too_many(world):
    await world.client.create(a_budget(minAvailable=2))
    pods = await world.all(Pod)
    await world.play(pods[0], ready=False)
    assert (await status(world)).disruptions_allowed == 0
    await evict(world, pods[0].metadata.name)
    await world.client.create(a_budget("other", maxUnavailable=1))
    await world.settle()
    with pytest.raises(InternalError, match="more than one PodDisruptionBudget"):
        await evict(world, pods[1].metadata.name)


async def test_an_eviction_that_nobody_follows_is_forgotten(world):
    await world.client.create(a_budget(minAvailable=2))
    await world.settle()
    name = (await world.all(Pod))[0].metadata.name
    told = {"disruptedPods": {name: world.now().strftime("%Y-%m-%dT%H:%M:%SZ")}}
    await world.edit(PodDisruptionBudget, "keep", {"status": told}, "status")
    assert (await status(world)).disruptions_allowed == 0
    await world.pass_time(130)
    found = await status(world)
    assert (found.disruptions_allowed, found.disrupted_pods) == (1, {})
