"""StatefulSets on the real API server, pods played."""

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.meta import LabelSelector, ObjectKey, ObjectMeta
from ketch.kube.types.apps import ControllerRevision, StatefulSet, StatefulSetSpec
from ketch.kube.types.containers import ResourceRequirements
from ketch.kube.types.core import ClaimSpec, PersistentVolumeClaim
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.local.workloads.collection import garbage
from ketch.local.workloads.collection.monitor import Monitor
from ketch.local.workloads.revisions import REVISION_LABEL
from ketch.local.workloads.statefulsets import reconciler

KEY = ObjectKey(NAMESPACE, "web")
LABELS = {"app": "web"}
CLAIM = PersistentVolumeClaim(
    metadata=ObjectMeta(name="data", labels={"kind": "disk"}),
    spec=ClaimSpec(access_modes=("ReadWriteOnce",), resources=ResourceRequirements(requests={"storage": "1Gi"})),
)


def a_set(replicas: int = 3, **spec) -> StatefulSet:
    template = PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=a_pod().spec)
    selector = LabelSelector(match_labels=LABELS)
    spec = StatefulSetSpec(replicas=replicas, selector=selector, template=template, service_name="peers", **spec)
    return StatefulSet(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=spec)


def collector(manager) -> None:
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    manager.add(monitor.run)


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, reconciler.setup) as world:
        yield world


async def begun(world, **spec) -> None:
    await world.client.create(a_set(**spec))
    await rolled(world)


async def rolled(world) -> None:
    """Play pods until nothing more comes of it."""
    for _ in range(12):
        await world.settle()
        before = await world.revision()
        await world.play_all()
        if await world.revision() == before:
            return
    pytest.fail("it never comes to rest")


async def names(world) -> list[str]:
    return [pod.metadata.name for pod in await world.all(Pod) if pod.metadata.deletion_timestamp is None]


async def images(world) -> list[str]:
    return [pod.spec.containers[0].image for pod in await world.all(Pod)]


async def set_image(world, image: str) -> None:
    container = {"name": "main", "image": image}
    await world.edit(StatefulSet, "web", {"spec": {"template": {"spec": {"containers": [container]}}}})
    await world.settle()


async def test_pods_come_in_order_with_their_identity(world):
    await world.client.create(a_set(volume_claim_templates=(CLAIM,)))
    await world.settle()
    assert await names(world) == ["web-0"]
    await world.play_all()
    assert await names(world) == ["web-0", "web-1"]
    await rolled(world)
    assert await names(world) == ["web-0", "web-1", "web-2"]
    last = await world.get(Pod, "web-2")
    assert (last.spec.hostname, last.spec.subdomain) == ("web-2", "peers")
    assert last.metadata.labels["statefulset.kubernetes.io/pod-name"] == "web-2"
    assert last.metadata.labels["apps.kubernetes.io/pod-index"] == "2"
    assert last.spec.volumes[0].persistent_volume_claim.claim_name == "data-web-2"
    claims = await world.all(PersistentVolumeClaim)
    assert [each.metadata.name for each in claims] == ["data-web-0", "data-web-1", "data-web-2"]
    assert claims[0].metadata.labels == {"kind": "disk", "app": "web"}
    found = await world.get(StatefulSet, "web")
    status = found.status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 3, 3)
    assert (status.current_replicas, status.updated_replicas) == (3, 3)
    assert status.current_revision == status.update_revision == last.metadata.labels[REVISION_LABEL]
    assert status.observed_generation == found.metadata.generation
    assert await world.settles("statefulsets", KEY)
    assert "create Pod web-0 in StatefulSet web successful" in await world.events("SuccessfulCreate")
    assert "create Claim data-web-0 Pod web-0 in StatefulSet web success" in await world.events("SuccessfulCreate")


async def test_a_lost_pod_comes_back_to_its_claim_and_labels_are_mended(world):
    await begun(world, volume_claim_templates=(CLAIM,))
    await world.delete(Pod, "web-1")
    await world.settle()
    again = await world.get(Pod, "web-1")
    assert again.spec.volumes[0].persistent_volume_claim.claim_name == "data-web-1"
    label = "statefulset.kubernetes.io/pod-name"
    await world.edit(Pod, "web-0", {"metadata": {"labels": {label: None}}})
    await world.settle()
    assert (await world.get(Pod, "web-0")).metadata.labels[label] == "web-0"


async def test_scaling_keeps_claims_unless_told_otherwise(world):
    await begun(world, volume_claim_templates=(CLAIM,))
    await world.edit(StatefulSet, "web", {"spec": {"replicas": 1}})
    await rolled(world)
    assert await names(world) == ["web-0"]
    assert len(await world.all(PersistentVolumeClaim)) == 3
    assert all(not each.metadata.owner_references for each in await world.all(PersistentVolumeClaim))


async def test_claims_go_with_their_pod_or_with_the_set(tmp_path):
    async with a_world(tmp_path, reconciler.setup, collector) as world:
        await begun(world, volume_claim_templates=(CLAIM,))
        policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
        await world.edit(StatefulSet, "web", {"spec": {"persistentVolumeClaimRetentionPolicy": policy}})
        await world.settle()
        for claim in await world.all(PersistentVolumeClaim):
            assert [each.kind for each in claim.metadata.owner_references] == ["StatefulSet"]
        await world.edit(StatefulSet, "web", {"spec": {"replicas": 1}})
        await rolled(world)

        async def left(*wanted: str) -> bool:
            return [each.metadata.name for each in await world.all(PersistentVolumeClaim)] == list(wanted)

        await world.until(lambda: left("data-web-0"))
        await world.delete(StatefulSet, "web")
        await world.until(left)
        assert await world.all(Pod) == []


async def test_a_new_template_rolls_from_the_top_down_to_the_partition(world):
    await begun(world)
    await world.edit(StatefulSet, "web", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}})
    first = (await world.get(StatefulSet, "web")).status.update_revision
    await set_image(world, "python:3.12")
    assert await images(world) == ["python:3.11", "python:3.11", "python:3.12"]
    await rolled(world)
    assert await images(world) == ["python:3.11", "python:3.12", "python:3.12"]
    status = (await world.get(StatefulSet, "web")).status
    assert (status.current_replicas, status.updated_replicas) == (1, 2)
    assert status.current_revision == first != status.update_revision
    await world.delete(Pod, "web-0")  # it comes back as it was
    await rolled(world)
    assert (await images(world))[0] == "python:3.11"
    await world.edit(StatefulSet, "web", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    await rolled(world)
    assert set(await images(world)) == {"python:3.12"}
    status = (await world.get(StatefulSet, "web")).status
    assert status.current_revision == status.update_revision
    assert (status.current_replicas, status.updated_replicas) == (3, 3)


async def test_a_template_that_never_serves_is_left_by_writing_another(world):
    await begun(world)
    await set_image(world, "python:broken")
    assert await images(world) == ["python:3.11", "python:3.11", "python:broken"]
    await set_image(world, "python:3.11")
    await rolled(world)
    assert set(await images(world)) == {"python:3.11"}
    assert len(await world.all(ControllerRevision)) == 2


async def test_history_is_numbered_taken_up_again_and_kept_to_its_limit(world):
    await begun(world, replicas=1, revision_history_limit=2)
    for image in ("python:2", "python:3", "python:2", "python:4", "python:5"):
        await set_image(world, image)
        await rolled(world)
    revisions = sorted(await world.all(ControllerRevision), key=lambda each: each.revision)
    kept = [each.data["spec"]["template"]["spec"]["containers"][0]["image"] for each in revisions]
    assert kept == ["python:2", "python:4", "python:5"]
    assert [each.revision for each in revisions] == [4, 5, 6]
    assert revisions[0].data["spec"]["template"]["$patch"] == "replace"


async def test_on_delete_leaves_it_to_others(world):
    await begun(world)
    await world.edit(StatefulSet, "web", {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}})
    await set_image(world, "python:3.12")
    await rolled(world)
    assert set(await images(world)) == {"python:3.11"}
    await world.delete(Pod, "web-1")
    await rolled(world)
    assert await images(world) == ["python:3.11", "python:3.12", "python:3.11"]


async def test_available_takes_min_ready_seconds_and_order_waits_for_it(world):
    await world.client.create(a_set(replicas=2, min_ready_seconds=30))
    await world.settle()
    await world.play_all()
    assert await names(world) == ["web-0"]
    await world.pass_time(31)
    assert await names(world) == ["web-0", "web-1"]
    status = (await world.get(StatefulSet, "web")).status
    assert (status.ready_replicas, status.available_replicas) == (1, 1)


async def test_another_pod_of_the_name_is_told(world):
    await world.client.create(a_pod("web-0", labels={"app": "other"}))
    await world.client.create(a_set())
    await world.settle()
    assert "a pod of that name exists that is not of this set" in (await world.events("FailedCreate"))[0]


async def test_an_ended_pod_is_made_anew_and_it_ends_quietly(world):
    await begun(world)
    uid = (await world.get(Pod, "web-1")).metadata.uid
    await world.play(await world.get(Pod, "web-1"), "Failed")
    await rolled(world)
    assert (await world.get(Pod, "web-1")).metadata.uid != uid
    await world.delete(StatefulSet, "web")
    assert await world.settles("statefulsets", KEY, ObjectKey(NAMESPACE, "never"))
    assert len(await names(world)) == 3  # the garbage collector's
