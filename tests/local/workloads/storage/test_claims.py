"""Claims and volumes, by table and on the real API server; the node's part is played."""

import msgspec
import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.codec import decode
from ketch.kube.errors import Forbidden, Invalid
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.containers import ResourceRequirements
from ketch.kube.types.core import (
    ClaimSpec,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
)
from ketch.kube.types.pods import Pod
from ketch.kube.types.storage import StorageClass
from ketch.kube.types.volumes import ClaimVolume, Volume
from ketch.local.workloads.storage import claims, volumes
from ketch.local.workloads.storage.binding import DATA_FINALIZER, DRIVER, best_volume

KEY = ObjectKey(NAMESPACE, "data")
SELECTED = {"volume.kubernetes.io/selected-node": "node"}


def a_claim(name: str = "data", *, size: str = "1Gi", annotations=None, **spec) -> PersistentVolumeClaim:
    spec = {"access_modes": ("ReadWriteOnce",)} | spec
    resources = ResourceRequirements(requests={"storage": size})
    meta = ObjectMeta(name=name, namespace=NAMESPACE, annotations=annotations or {})
    return PersistentVolumeClaim(metadata=meta, spec=ClaimSpec(resources=resources, **spec))


def a_volume(
    name: str = "disk", *, size: str = "1Gi", labels=None, phase: str = "Available", **spec
) -> PersistentVolume:
    spec = {"access_modes": ("ReadWriteOnce",), "persistent_volume_reclaim_policy": "Retain"} | spec
    return PersistentVolume(
        metadata=ObjectMeta(name=name, labels=labels or {}),
        spec=PersistentVolumeSpec(capacity={"storage": size}, **spec),
        status=PersistentVolumeStatus(phase=phase),
    )


REFERENCE = ObjectReference(kind="PersistentVolumeClaim", namespace=NAMESPACE, name="data")


@pytest.mark.parametrize(
    ("claim", "offered", "chosen"),
    [
        pytest.param(a_claim(), [a_volume("big", size="9Gi"), a_volume("fit")], "fit", id="the smallest that fits"),
        pytest.param(a_claim(size="2Gi"), [a_volume()], None, id="too small"),
        pytest.param(a_claim(access_modes=("ReadWriteMany",)), [a_volume()], None, id="another mode"),
        pytest.param(a_claim(volume_mode="Block"), [a_volume()], None, id="another kind of device"),
        pytest.param(a_claim(), [a_volume(storage_class_name="fast")], None, id="another class"),
        pytest.param(a_claim(), [a_volume(phase="Released")], None, id="not free"),
        pytest.param(
            a_claim(selector={"matchLabels": {"disk": "ssd"}}),
            [a_volume("a"), a_volume("b", labels={"disk": "ssd"})],
            "b",
            id="the one that is selected",
        ),
        pytest.param(
            a_claim(), [a_volume("a"), a_volume("b", size="9Gi", claim_ref=REFERENCE)], "b", id="the one set aside"
        ),
        pytest.param(
            a_claim("other"), [a_volume("b", size="9Gi", claim_ref=REFERENCE)], None, id="set aside for another"
        ),
    ],
)
def test_which_volume(claim, offered, chosen):
    found = best_volume(claim, offered)
    assert (found.metadata.name if found else None) == chosen


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, claims.setup, volumes.setup) as world:
        await world.node("node")
        await world.until(lambda: world.get(StorageClass, "standard"))
        await world.settle()
        yield world


async def phases(world) -> tuple[str, list[str]]:
    await world.settle()
    claim = await world.get(PersistentVolumeClaim, "data")
    return claim.status.phase, [each.status.phase for each in await world.all(PersistentVolume)]


async def test_a_claim_waits_for_its_first_consumer_and_gets_a_directory_on_its_node(world):
    await world.client.create(a_claim())
    assert await phases(world) == ("Pending", [])
    assert await world.events("WaitForFirstConsumer")
    await world.edit(PersistentVolumeClaim, "data", {"metadata": {"annotations": SELECTED}})
    assert await phases(world) == ("Bound", ["Bound"])
    claim, (volume,) = await world.get(PersistentVolumeClaim, "data"), await world.all(PersistentVolume)
    assert claim.spec.volume_name == volume.metadata.name == f"pvc-{claim.metadata.uid}"
    assert claim.status.capacity == {"storage": "1Gi"}
    assert (volume.spec.csi.driver, volume.spec.csi.volume_handle) == (DRIVER, volume.metadata.name)
    assert DATA_FINALIZER in volume.metadata.finalizers
    (term,) = volume.spec.node_affinity["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node"]}]
    assert await world.settles("claims", KEY)
    assert await world.settles("volumes", volume.key)


async def test_an_immediate_class_does_not_wait(world):
    await world.client.create(
        StorageClass(metadata=ObjectMeta(name="now"), provisioner=DRIVER, volume_binding_mode="Immediate")
    )
    await world.client.create(a_claim(storage_class_name="now"))
    assert await phases(world) == ("Bound", ["Bound"])


async def test_the_data_goes_with_the_claim_when_the_node_has_removed_it(world):
    await world.client.create(a_claim(annotations=SELECTED))
    await world.settle()
    await world.delete(PersistentVolumeClaim, "data")
    await world.settle()
    assert await world.get(PersistentVolumeClaim, "data") is None
    (volume,) = await world.all(PersistentVolume)
    assert volume.metadata.deletion_timestamp is not None
    assert volume.metadata.finalizers == (DATA_FINALIZER,)
    await world.edit(PersistentVolume, volume.metadata.name, {"metadata": {"finalizers": None}})
    assert await world.all(PersistentVolume) == []


async def test_data_that_is_to_be_kept_stays(world):
    await world.client.create(a_claim(annotations=SELECTED))
    await world.settle()
    (volume,) = await world.all(PersistentVolume)
    await world.edit(PersistentVolume, volume.metadata.name, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
    await world.settle()
    await world.delete(PersistentVolumeClaim, "data")
    await world.settle()
    (volume,) = await world.all(PersistentVolume)
    assert (volume.status.phase, volume.metadata.deletion_timestamp) == ("Released", None)
    assert DATA_FINALIZER not in volume.metadata.finalizers


async def test_a_claim_that_is_mounted_stays_until_the_pod_has_ended(world):
    await world.client.create(a_claim(annotations=SELECTED))
    mount = Volume(name="data", persistent_volume_claim=ClaimVolume(claim_name="data"))
    await world.client.create(a_pod("user", volumes=(mount,)))
    await world.settle()
    await world.delete(PersistentVolumeClaim, "data")
    await world.settle()
    assert (await world.get(PersistentVolumeClaim, "data")).metadata.deletion_timestamp is not None
    await world.play(await world.get(Pod, "user"), "Succeeded")
    await world.settle()
    assert await world.get(PersistentVolumeClaim, "data") is None


async def test_a_volume_that_is_bound_stays_until_its_claim_has_gone(world):
    await world.client.create(a_volume())
    await world.client.create(a_claim(storage_class_name=""))
    assert await phases(world) == ("Bound", ["Bound"])
    await world.delete(PersistentVolume, "disk")
    await world.settle()
    assert (await world.get(PersistentVolume, "disk")).metadata.deletion_timestamp is not None
    await world.delete(PersistentVolumeClaim, "data")
    await world.settle()
    assert await world.all(PersistentVolume) == []


async def test_a_volume_that_comes_later_is_bound(world):
    await world.client.create(a_claim(storage_class_name=""))
    assert await phases(world) == ("Pending", [])
    assert "no storage class is set" in (await world.events("FailedBinding"))[0]
    await world.client.create(a_volume())
    assert await phases(world) == ("Bound", ["Bound"])


async def test_a_lost_volume_is_told(world):
    await world.client.create(a_volume())
    await world.client.create(a_claim(storage_class_name=""))
    await world.settle()
    body = {"metadata": {"finalizers": None}}
    await world.delete(PersistentVolume, "disk")
    await world.edit(PersistentVolume, "disk", body)
    assert await phases(world) == ("Lost", [])
    assert len(await world.events("ClaimLost")) == 1


@pytest.mark.parametrize(
    ("name", "provisioner", "reason", "text"),
    [
        pytest.param("missing", "", "ProvisioningFailed", '"missing" not found', id="no such class"),
        pytest.param("other", "example.com/nfs", "ExternalProvisioning", "'example.com/nfs'", id="another's"),
        pytest.param(
            "manual", "kubernetes.io/no-provisioner", "FailedBinding", "no persistent volumes available", id="nobody's"
        ),
    ],
)
async def test_why_a_claim_stays_pending(world, name, provisioner, reason, text):
    if provisioner:
        await world.client.create(StorageClass(metadata=ObjectMeta(name=name), provisioner=provisioner))
    await world.client.create(a_claim(storage_class_name=name))
    assert await phases(world) == ("Pending", [])
    assert text in (await world.events(reason))[0]
    assert await world.settles("claims", ObjectKey(NAMESPACE, "never"))


async def test_a_claim_by_name_takes_that_volume(world):
    await world.client.create(a_volume("a"))
    await world.client.create(a_volume("b", size="9Gi"))
    await world.client.create(msgspec.structs.replace(a_claim(storage_class_name="", volume_name="b")))
    await world.settle()
    assert (await world.get(PersistentVolume, "b")).status.phase == "Bound"
    assert (await world.get(PersistentVolume, "a")).status.phase == "Available"
    assert (await phases(world))[0] == "Bound"


async def test_a_free_volume_also_waits_for_the_first_consumer(world):
    await world.client.create(a_volume(storage_class_name="standard"))
    await world.client.create(a_claim())
    assert await phases(world) == ("Pending", ["Available"])
    await world.edit(PersistentVolumeClaim, "data", {"metadata": {"annotations": SELECTED}})
    assert await phases(world) == ("Bound", ["Bound"])


async def test_a_claim_that_goes_gets_no_volume(world):
    await world.client.create(a_claim())
    await world.edit(PersistentVolumeClaim, "data", {"metadata": {"finalizers": ["example.com/hold"]}})
    await world.delete(PersistentVolumeClaim, "data")
    await world.edit(PersistentVolumeClaim, "data", {"metadata": {"annotations": SELECTED}})
    assert await phases(world) == ("Pending", [])


async def test_data_of_a_volume_that_was_made_by_hand_is_not_ours_to_delete(world):
    await world.client.create(a_volume(persistent_volume_reclaim_policy="Delete"))
    await world.client.create(a_claim(storage_class_name=""))
    assert await phases(world) == ("Bound", ["Bound"])
    assert (await world.get(PersistentVolume, "disk")).metadata.finalizers == (volumes.PROTECTION,)
    await world.delete(PersistentVolumeClaim, "data")
    await world.settle()
    volume = await world.get(PersistentVolume, "disk")
    assert (volume.status.phase, volume.metadata.deletion_timestamp) == ("Released", None)
    assert len(await world.events("VolumeFailedDelete")) == 1


@pytest.mark.parametrize(
    ("kind", "modes", "field"),
    [
        (PersistentVolumeClaim, ["ReadWriteSometimes"], "spec.accessModes[0]"),
        (PersistentVolumeClaim, ["ReadWriteOncePod", "ReadOnlyMany"], "spec.accessModes"),
        (PersistentVolume, ["ReadWriteSometimes"], "spec.accessModes[0]"),
        (PersistentVolume, [], "spec.accessModes"),
    ],
)
async def test_access_modes_that_there_are_not(world, kind, modes, field):
    size = {"storage": "1Gi"}
    sizes = {"capacity": size} if kind is PersistentVolume else {"resources": {"requests": size}}
    namespace = {"namespace": NAMESPACE} if kind.resource.namespaced else {}
    body = {"metadata": {"name": "bad", **namespace}, "spec": {"accessModes": modes, **sizes}}
    with pytest.raises(Invalid) as caught:
        await world.client.create(decode(kind, body))
    assert [cause.field for cause in caught.value.details.causes] == [field]


async def grow(world, size: str) -> None:
    await world.edit(PersistentVolumeClaim, "data", {"spec": {"resources": {"requests": {"storage": size}}}})
    await world.settle()


async def test_a_claim_grows_with_its_volume(world):
    await world.client.create(a_claim(annotations=SELECTED))
    assert await phases(world) == ("Bound", ["Bound"])
    await grow(world, "3Gi")
    claim = await world.get(PersistentVolumeClaim, "data")
    assert claim.status.capacity == {"storage": "3Gi"}
    assert (await world.get(PersistentVolume, claim.spec.volume_name)).spec.capacity == {"storage": "3Gi"}
    assert len(await world.events("VolumeResizeSuccessful")) == 1
    assert await world.settles("claims", KEY)
    with pytest.raises(Invalid, match="can not be less than"):
        await grow(world, "2Gi")


async def test_what_does_not_grow_says_why(world):
    await world.client.create(a_claim())
    with pytest.raises(Invalid, match="for bound claims"):
        await grow(world, "2Gi")
    await world.client.create(a_volume())
    await world.client.create(a_claim("by-hand", storage_class_name=""))
    await world.settle()
    with pytest.raises(Forbidden, match="must support resize"):
        await world.edit(PersistentVolumeClaim, "by-hand", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
