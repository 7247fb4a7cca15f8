"""The garbage collector on the real API server: built-in and custom resources."""

import asyncio

import pytest
from tests.playing import NAMESPACE, a_world

from ketch.kube.client import DeleteOptions
from ketch.kube.errors import NotFound
from ketch.kube.meta import ObjectKey, ObjectMeta, OwnerReference, Resource
from ketch.kube.types.core import ConfigMap, Namespace
from ketch.local.workloads.collection import garbage, namespaces
from ketch.local.workloads.collection.discovering import discover, metadata_of
from ketch.local.workloads.collection.graph import Graph
from ketch.local.workloads.collection.monitor import Monitor

WIDGET = metadata_of(Resource("example.com", "v1", "Widget", "widgets"))
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def everything(manager) -> None:
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    namespaces.setup(manager, monitor)
    manager.add(monitor.run)


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, everything) as world:
        yield world


def owned_by(owner, *, blocks: bool = True) -> OwnerReference:
    return OwnerReference(
        api_version=owner.resource.api_version,
        kind=owner.resource.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        block_owner_deletion=blocks,
    )


async def make(world, name: str, *owners, kind=ConfigMap, blocks: bool = True, finalizers=()):
    references = tuple(owned_by(owner, blocks=blocks) for owner in owners)
    meta = ObjectMeta(name=name, namespace=NAMESPACE, owner_references=references, finalizers=finalizers)
    return await world.client.create(kind(metadata=meta))


async def names(world) -> list[str]:
    await world.settle()
    return [each.metadata.name for each in await world.all(ConfigMap)]


async def remove(world, name: str, propagation: str = "Background", kind=ConfigMap) -> None:
    await world.settle()
    await world.delete(kind, name, options=DeleteOptions(propagation=propagation))


async def release(world, name: str) -> None:
    await world.edit(ConfigMap, name, {"metadata": {"finalizers": None}})


async def test_dependents_go_after_their_owner_all_the_way_down(world):
    owner = await make(world, "a")
    await make(world, "a-a-a", await make(world, "a-a", owner))
    await make(world, "other")
    await remove(world, "a")
    assert await names(world) == ["other"]


async def test_in_the_foreground_the_owner_waits(world):
    owner = await make(world, "a")
    await make(world, "held", owner, finalizers=("example.com/hold",))
    await make(world, "free", owner)
    await remove(world, "a", "Foreground")
    assert await names(world) == ["a", "held"]
    assert (await world.get(ConfigMap, "held")).metadata.deletion_timestamp is not None
    await release(world, "held")
    assert await names(world) == []


async def test_in_the_foreground_an_owner_waits_only_for_those_that_block(world):
    owner = await make(world, "a")
    await make(world, "held", owner, blocks=False, finalizers=("example.com/hold",))
    await remove(world, "a", "Foreground")
    assert await names(world) == ["held"]


async def test_in_the_foreground_a_chain_goes_from_its_end(world):
    middle = await make(world, "middle", await make(world, "top"))
    await make(world, "bottom", middle, finalizers=("example.com/hold",))
    await remove(world, "top", "Foreground")
    assert await names(world) == ["bottom", "middle", "top"]
    await release(world, "bottom")
    assert await names(world) == []


async def test_orphans_stay_and_know_no_owner(world):
    await make(world, "b", await make(world, "a"))
    await remove(world, "a", "Orphan")
    assert await names(world) == ["b"]
    assert (await world.get(ConfigMap, "b")).metadata.owner_references == ()


async def test_with_another_owner_only_the_reference_goes(world):
    first, second = await make(world, "a"), await make(world, "b")
    await make(world, "c", first, second)
    await remove(world, "a")
    assert await names(world) == ["b", "c"]
    assert [each.name for each in (await world.get(ConfigMap, "c")).metadata.owner_references] == ["b"]


async def test_an_owner_that_never_was_is_absent(world):
    ghost = ConfigMap(metadata=ObjectMeta(name="ghost", uid="0-0"))
    await make(world, "a", ghost)
    assert await names(world) == []


async def test_an_owner_made_anew_is_another_one(world):
    owner = await make(world, "a")
    await make(world, "b", owner)
    await remove(world, "a")
    await make(world, "a")
    assert await names(world) == ["a"]


async def test_a_namesake_of_the_owner_is_not_the_owner(world):
    await make(world, "a")
    await make(world, "b", ConfigMap(metadata=ObjectMeta(name="a", uid="0-0")))
    assert await names(world) == ["a"]


def test_the_graph_forgets_references_that_are_gone():
    owner = ConfigMap(metadata=ObjectMeta(name="a", uid="1"))
    kind, graph = metadata_of(ConfigMap.resource), Graph()
    graph.put(kind(metadata=ObjectMeta(name="b", uid="2", owner_references=(owned_by(owner),))))
    assert [each.metadata.name for each in graph.dependents("1")] == ["b"]
    graph.put(kind(metadata=ObjectMeta(name="b", uid="2")))
    graph.remove("2")
    assert list(graph.dependents("1")) == []


async def test_an_owner_in_another_namespace_owns_nothing(world):
    meta = ObjectMeta(name="far", namespace="kube-public")
    await make(world, "a", await world.client.create(ConfigMap(metadata=meta)))
    assert await names(world) == []


async def test_a_namespace_may_own_what_is_in_it_but_not_the_other_way_round(world):
    await make(world, "a", await world.get(Namespace, "kube-public"))
    inner = await make(world, "inner")
    meta = ObjectMeta(name="team", owner_references=(owned_by(inner),))
    await world.client.create(Namespace(metadata=meta))
    await remove(world, "inner")
    assert await names(world) == ["a"]
    assert (await world.get(Namespace, "team")).metadata.deletion_timestamp is None


async def test_custom_resources_own_and_are_owned(world):
    await world.client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=DEFINITION)
    widget = await make(world, "w", await make(world, "a"), kind=WIDGET)
    await make(world, "b", widget)
    assert await names(world) == ["a", "b"]
    await remove(world, "a")
    assert await names(world) == []
    with pytest.raises(NotFound):
        await world.client.get(WIDGET, "w", NAMESPACE)


async def test_an_owner_of_a_kind_that_is_not_served_keeps_what_it_owns_until_it_is(world):
    await make(world, "a", WIDGET(metadata=ObjectMeta(name="w", uid="0-0")))
    assert await names(world) == ["a"]
    await world.client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=DEFINITION)
    await world.until(lambda: _empty(world))


async def _empty(world) -> bool:
    return await names(world) == []


async def test_it_settles(world):
    owner = await make(world, "a")
    dependent = await make(world, "b", owner)
    await world.settle()
    keys = [ObjectKey("", each.metadata.uid) for each in (owner, dependent)]
    assert await world.settles("garbage", *keys, ObjectKey("", "never"))


async def test_a_thousand_dependents_go_together(world):
    owner = await make(world, "a")
    await asyncio.gather(*(make(world, f"d{number}", owner) for number in range(1000)))
    await remove(world, "a")
    assert await names(world) == []


async def test_discovery_finds_each_kind_once(world):
    found = [(each.group, each.plural) for each in await discover(world.client)]
    assert len(found) == len(set(found))
    assert {("", "pods"), ("apps", "deployments"), ("", "events")} <= set(found)
    assert ("events.k8s.io", "events") not in found
