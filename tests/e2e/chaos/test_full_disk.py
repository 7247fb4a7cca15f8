"""A platform on a disk that is full, and on databases that are torn: it says so, loses nothing, and goes on."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kfp
import kfp_server_api
import pytest
from tests.disks import small_disk
from tests.e2e.manifests import config_map, pod, shell
from tests.e2e.platforms import Platform, eventually, start_platform

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]

SIZE, CHUNK = "64m", 1 << 20
MANY = 400
LARGE = "x" * 100_000


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system of its own."""
    place = Path(tempfile.mkdtemp(prefix="kd-", dir="/tmp"))
    try:
        with small_disk(place, SIZE) as mounted:
            yield mounted
    finally:
        place.rmdir()


@pytest.fixture
def cramped(disk: Path) -> Iterator[Platform]:
    """A platform on it."""
    started = start_platform(disk / "d")
    yield started
    started.ketch("down")


def _fill(place: Path) -> Path:
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(CHUNK))
    return filler


def _pressure(platform: Platform) -> tuple[str, bool]:
    (node,) = platform.get("nodes")["items"]
    (condition,) = [each for each in node["status"]["conditions"] if each["type"] == "DiskPressure"]
    taints = [each["key"] for each in node["spec"].get("taints", ())]
    return condition["status"], "node.kubernetes.io/disk-pressure" in taints


def _refused(command: subprocess.CompletedProcess[str], *words: str) -> None:
    assert command.returncode != 0
    assert all(word in command.stderr + command.stdout for word in words), command.stderr + command.stdout
    assert "Traceback" not in command.stderr + command.stdout


def _create_until_refused(platform: Platform) -> tuple[list[str], str]:
    """Names that were acknowledged, and what the refusal said."""
    created = []
    for number in range(MANY):
        name = f"while-{number}"
        manifest = config_map(name, large=LARGE)
        result = platform.kubectl_result("create", "-f", "-", stdin=json.dumps(manifest))
        if result.returncode:
            return created, result.stderr
        created.append(name)
    pytest.fail("nothing was refused")


def test_a_full_disk_is_told_and_survived(cramped: Platform, disk: Path):
    greedy = pod("greedy", shell("echo begun; cat /dev/zero > /tmp/all; echo full; exec sleep 600"))
    cramped.apply(
        config_map("before", key="kept"), config_map("spare"), pod("modest", shell("echo here; exec sleep 600")), greedy
    )
    for name in ("modest", "greedy"):
        cramped.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    # Who fills it goes, and says why; nobody else does.
    cramped.kubectl("wait", "pod/greedy", "--for=jsonpath={.status.reason}=Evicted", "--timeout=60s")
    assert "The node was low on resource: ephemeral-storage" in cramped.get("pod", "greedy")["status"]["message"]
    eventually(lambda: _pressure(cramped) == ("False", False), what="room again")

    filler = _fill(disk)
    created, said = _create_until_refused(cramped)
    assert "the disk is full" in said
    assert "make room" in said
    eventually(lambda: _pressure(cramped) == ("True", True), what="the node tells of it")
    names = {each["metadata"]["name"] for each in cramped.get("configmaps")["items"]}
    assert {"before", *created} <= names
    assert cramped.kubectl("logs", "modest") == "here\n"
    with pytest.raises(kfp_server_api.ApiException, match="disk is full"):
        kfp.Client(host=cramped.address).create_experiment("no-room")
    killed = cramped.record()["processes"]["network"]["pid"]
    os.kill(killed, signal.SIGKILL)  # its state cannot be written down; it is started again nevertheless
    cramped.kubectl("delete", "configmap", "spare")
    assert cramped.kubectl("get", "pod", "modest", "-o", "jsonpath={.status.phase}") == "Running"

    filler.unlink()
    eventually(lambda: _pressure(cramped) == ("False", False), what="room again")
    eventually(lambda: cramped.record()["processes"]["network"]["pid"] not in (killed, None), what="it is told")
    cramped.apply(config_map("after", key="new"), pod("late", shell("echo late")))
    cramped.kubectl("wait", "pod/late", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    names = {each["metadata"]["name"] for each in cramped.get("configmaps")["items"]}
    assert {"before", "after", *created} <= names
    assert "spare" not in names

    assert cramped.ketch("down").returncode == 0
    _fill(disk)
    up = cramped.ketch("up", "--detach", "--port", "0", "--api-port", "0")
    _refused(up, "the disk is full", str(cramped.root), "make room")


def test_a_torn_database_is_refused_by_name(own_platform: Platform):
    own_platform.apply(config_map("kept", key="value"))
    assert own_platform.ketch("down").returncode == 0
    for name in ("kube.db", "platform.db"):
        database, copy = own_platform.root / name, own_platform.root / f"{name}.copy"
        shutil.copy(database, copy)
        os.truncate(database, 0)
        up = own_platform.ketch("up", "--detach", "--port", "0", "--api-port", "0")
        _refused(up, f"{name} is empty", "restore it from a copy")
        copy.rename(database)
    again = start_platform(own_platform.root)
    assert again.get("configmap", "kept")["data"] == {"key": "value"}
