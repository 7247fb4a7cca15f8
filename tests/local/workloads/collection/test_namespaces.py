"""Namespaces that go take all that is in them along."""

import pytest
from tests.local.workloads.collection.test_garbage import DEFINITION, WIDGET, everything
from tests.playing import a_pod, a_world

from ketch.kube.conditions import find
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.core import ConfigMap, Event, Namespace, ObjectReference
from ketch.kube.types.pods import Pod


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, everything) as world:
        await world.client.create(Namespace(metadata=ObjectMeta(name="team")))
        await world.settle()
        yield world


def within(name: str, **more) -> ObjectMeta:
    return ObjectMeta(name=name, namespace="team", **more)


async def test_all_content_goes_of_every_kind(world):
    await world.client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=DEFINITION)
    await world.client.create(ConfigMap(metadata=within("a")))
    await world.client.create(WIDGET(metadata=within("w")))
    await world.client.create(
        Event(metadata=within("e"), reason="Told", involved_object=ObjectReference(namespace="team"))
    )
    await world.client.create(Pod(metadata=within("p"), spec=a_pod().spec))
    await world.delete(Namespace, "team")
    await world.settle()
    assert await world.get(Namespace, "team") is None
    for kind in (ConfigMap, WIDGET, Event, Pod):
        assert (await world.client.list(kind, "team")).items == ()


async def test_what_is_held_is_told_and_goes_in_the_end(world):
    await world.client.create(ConfigMap(metadata=within("a", finalizers=("example.com/hold",))))
    await world.client.create(ConfigMap(metadata=within("b")))
    await world.delete(Namespace, "team")
    await world.settle()
    namespace = await world.get(Namespace, "team")
    assert namespace.status.phase == "Terminating"
    told = {each.type: each for each in namespace.status.conditions}
    assert told["NamespaceContentRemaining"].message == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert told["NamespaceFinalizersRemaining"].message == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    )
    assert find(namespace.status.conditions, "NamespaceDeletionContentFailure").status == "False"
    assert await world.settles("namespaces", ObjectKey("", "team"))
    body = {"metadata": {"finalizers": None}}
    await world.client.patch(ConfigMap, "a", "team", body, content_type="application/merge-patch+json")
    await world.settle()
    assert await world.get(Namespace, "team") is None


async def test_namespaces_that_stay_are_left_alone(world):
    assert await world.settles("namespaces", ObjectKey("", "team"), ObjectKey("", "never"))
    assert (await world.get(Namespace, "team")).status.phase == "Active"
