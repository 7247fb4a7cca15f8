"""What pods may write: which limit is broken, by table; and real pods that break theirs."""

import pytest
from tests.playing import a_pod
from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.types.containers import Container, ResourceRequirements
from ketch.kube.types.volumes import EmptyDirVolume, Volume
from ketch.local.node.evicting import StorageWatch
from ketch.local.node.volumes.limits import Usage, broken, limits_of, size_of
from ketch.local.node.volumes.places import Folders


def a_container(name: str, limit: str = "") -> Container:
    limits = {"ephemeral-storage": limit} if limit else {}
    return Container(name=name, image="busybox", resources=ResourceRequirements(limits=limits))


DATA = Volume(name="data", empty_dir=EmptyDirVolume(size_limit="1Ki"))
FREE = Volume(name="free", empty_dir=EmptyDirVolume())


@pytest.mark.parametrize(
    ("containers", "volumes", "usage", "why"),
    [
        pytest.param(["1Ki"], (), Usage({}, {"c0": 1024}, 1024), "", id="as much as it may"),
        pytest.param(["1Ki"], (), Usage({}, {"c0": 1025}, 1025), "Container c0 exceeded its local", id="a container"),
        pytest.param([""], (DATA,), Usage({"data": 2000}, {}, 0), 'EmptyDir volume "data" exceeds', id="a volume"),
        pytest.param(["1Ki"], (FREE,), Usage({"free": 900}, {"c0": 900}, 1800), "Pod ephemeral local", id="all of it"),
        pytest.param(["1Ki", ""], (FREE,), Usage({"free": 9000}, {"c0": 1}, 9001), "", id="one without a limit"),
    ],
)
def test_which_limit_is_broken(containers, volumes, usage, why):
    named = tuple(a_container(f"c{number}", limit) for number, limit in enumerate(containers))
    said = broken(limits_of(a_pod(containers=named, volumes=volumes)), usage)
    assert why in said
    assert bool(said) == bool(why)


def test_a_pod_without_limits_has_none():
    assert not limits_of(a_pod(volumes=(FREE,)))


def test_sizes_count_each_file_once_and_follow_nothing(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * 100_000)
    before = size_of(tmp_path)
    assert 100_000 <= before < 130_000
    (tmp_path / "again").hardlink_to(tmp_path / "deep" / "file")
    (tmp_path / "away").symlink_to("/usr")
    assert size_of(tmp_path) - before < 10_000
    assert size_of(tmp_path / "nothing") == 0


async def evicted(node, name: str):
    """The pod's status, once a look at the disk has ended it."""
    watch = StorageWatch(SYSTEM_CLOCK, Folders(node.data), node.agent._workers.values)

    async def has_failed() -> bool:
        await watch.look()
        return (await node.pod(name)).status.phase == "Failed"

    await eventually(has_failed, f"the eviction of {name}")
    return (await node.pod(name)).status


@pytest.mark.parametrize("medium", ["", "Memory"])
async def test_a_pod_that_fills_its_volume_is_evicted(node, medium):
    volume = {"name": "data", "emptyDir": {"sizeLimit": "1Mi", **({"medium": medium} if medium else {})}}
    path = "/dev/shm" if medium else "/data"
    mount = {"volumeMounts": [{"name": "data", "mountPath": path}]}
    await node.create("modest", {"sh": f"echo a > {path}/b; sleep 100", **mount}, volumes=[volume])
    await node.create("full", {"sh": f"head -c 3000000 /dev/zero > {path}/full; sleep 100", **mount}, volumes=[volume])
    status = await evicted(node, "full")
    assert status.reason == "Evicted"
    assert status.message == 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". '
    assert (await node.phase("modest", "Running")).status.reason == ""
    assert await node.messages("Evicted") == [status.message]


async def test_what_a_container_writes_anywhere_counts(node):
    limits = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    await node.create("full", {"sh": "head -c 3000000 /dev/zero > /tmp/full; sleep 100", **limits})
    status = await evicted(node, "full")
    said = 'Container main exceeded its local ephemeral storage limit "1Mi". '
    assert (status.reason, status.message) == ("Evicted", said)
