"""Claims and objects are places on this machine, which pods cannot leave and which are given back."""

import stat
from pathlib import Path

import pytest
from tests.waiting import eventually

from ketch.kube.codec import decode
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import PersistentVolume, PersistentVolumeClaim

FINALIZER = "volumes.ketch.dev/data"
MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}


async def a_claim(node, name):
    """A claim bound to a volume of this machine, as binder and provisioner leave it."""
    volume = {
        "metadata": {"name": f"pv-{name}", "finalizers": [FINALIZER]},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "volumes.ketch.dev", "volumeHandle": f"pv-{name}"},
        },
    }
    claim = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": f"pv-{name}",
        },
    }
    await node.client.create(decode(PersistentVolume, volume))
    await node.client.create(decode(PersistentVolumeClaim, claim))
    bound = {"status": {"phase": "Bound"}}
    await node.client.patch(
        PersistentVolumeClaim, name, "default", bound, content_type=MERGE_PATCH, subresource="status"
    )
    return [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]


async def test_a_claim_s_data_outlives_pods_and_goes_with_its_volume(node):
    volumes = await a_claim(node, "data")
    await node.create("writer", {"sh": "echo kept > /v/f", **MOUNT}, volumes=volumes)
    await node.phase("writer", "Succeeded")
    await node.create("reader", {"sh": "cat /v/f", **MOUNT}, volumes=volumes)
    assert await node.output("reader") == "kept\n"
    await node.client.delete(PersistentVolume, "pv-data")
    await eventually(lambda: not (node.data / "volumes" / "pv-data").exists())

    async def gone():
        return not (await node.client.list(PersistentVolume)).items

    await eventually(gone, "the end of the volume")


async def test_objects_are_written_in_one_pod_and_read_in_another(node):
    def objects(path, *, read_only=False):
        driver = {"driver": "objects.ketch.dev", "readOnly": read_only, "volumeAttributes": {"path": path}}
        return [{"name": "v", "csi": driver}]

    await node.create("out", {"sh": "echo made > /v/artifact", **MOUNT}, volumes=objects("bucket/run/out"))
    await node.phase("out", "Succeeded")
    read = "cat /v; ! (echo x > /v) 2>/dev/null"
    await node.create("in", {"sh": read, **MOUNT}, volumes=objects("bucket/run/out/artifact", read_only=True))
    assert await node.output("in") == "made\n"


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        pytest.param({"hostPath": {"path": "/etc"}}, "is not open to pods", id="host path"),
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "no"}}, 'persistentvolumeclaim "no" not found', id="claim"
        ),
        pytest.param(
            {"csi": {"driver": "objects.ketch.dev", "volumeAttributes": {"path": "../pki"}}},
            "must name something below the store",
            id="out of the store",
        ),
        pytest.param(
            {"csi": {"driver": "objects.ketch.dev", "readOnly": True, "volumeAttributes": {"path": "b/none"}}},
            "does not exist",
            id="no such object",
        ),
        pytest.param({"nfs": {"server": "s", "path": "/"}}, "cannot mount volumes of kind nfs", id="unknown kind"),
    ],
)
async def test_what_cannot_be_mounted_is_said(node, volume, message):
    await node.create("no", MOUNT, volumes=[{"name": "v", **volume}])
    (said,) = await node.messages("FailedMount")
    assert message in said
    await node.delete("no", 0)
    await node.gone("no")


async def test_memory_of_a_pod_is_closed_to_other_users_of_the_machine(node):
    memory = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    pod = await node.create("fast", {"sh": "echo x > /v/f; sleep 100", **MOUNT}, volumes=memory)
    folder = Path("/dev/shm") / f"ketch-{pod.metadata.uid}"
    await eventually((folder / "v" / "f").exists)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    await node.delete("fast", 0)
    await node.cleared()
    assert not folder.exists()
