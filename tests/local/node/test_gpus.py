"""GPUs: what is told and found, who holds what, and real containers with devices of a made-up list."""

import pytest

from ketch.kube.types.containers import Container, ResourceRequirements
from ketch.kube.types.core import Node
from ketch.local.node.environment import ConfigError
from ketch.local.node.gpus import Gpus, devices_of, shares_of
from ketch.local.node.volumes.places import Folders


def a_container(name: str = "main", gpus: int = 1) -> Container:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return Container(name=name, image="busybox", resources=ResourceRequirements(limits=limits))


@pytest.mark.parametrize(
    ("told", "devices"),
    [
        pytest.param({}, ("0", "2", "10"), id="those that are found"),
        pytest.param({"KETCH_GPUS": "3, 1,3"}, ("3", "1"), id="those that are told"),
        pytest.param({"KETCH_GPUS": ""}, (), id="told that there are none"),
    ],
)
def test_which_devices_there_are(tmp_path, told, devices):
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert devices_of(told, tmp_path) == devices


@pytest.mark.parametrize(("text", "shares"), [("4", 4), ("0", 1), ("many", 1)])
def test_shares(text, shares):
    assert shares_of({"KETCH_GPU_SHARES": text}) == shares


def test_each_is_held_by_one_and_given_back(tmp_path):
    gpus = Gpus(("0", "1", "2"), 1, Folders(tmp_path))
    assert gpus.count == 3
    assert gpus.take("a", a_container(gpus=2)) == ("0", "1")
    assert gpus.take("b", a_container()) == ("2",)
    assert gpus.take("a", a_container(gpus=2)) == ("0", "1")  # a restart changes nothing
    assert gpus.take("c", a_container(gpus=0)) == ()
    with pytest.raises(ConfigError, match=r"requested 1 nvidia\.com/gpu, 0 are free"):
        gpus.take("c", a_container())
    gpus.give_back("a")
    assert gpus.take("c", a_container()) == ("0",)


def test_shares_are_spread_and_known_to_the_next_agent(tmp_path):
    gpus = Gpus(("0", "1"), 2, Folders(tmp_path))
    assert [gpus.take(uid, a_container()) for uid in "abc"] == [("0",), ("1",), ("0",)]
    again = Gpus(("0", "1"), 2, Folders(tmp_path))
    assert again.take("b", a_container()) == ("1",)
    assert again.take("d", a_container()) == ("1",)
    with pytest.raises(ConfigError):
        again.take("e", a_container())


def test_device_files_that_there_are_are_mounted(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    gpus = Gpus(("0", "1"), 1, Folders(tmp_path), tmp_path)
    assert [each.target for each in gpus.mounts(("1",))] == ["/dev/nvidia1", "/dev/nvidiactl"]
    assert gpus.mounts(()) == ()


async def test_containers_see_their_own_and_the_node_says_what_it_has(node, monkeypatch):
    await node.stop()
    monkeypatch.setenv("KETCH_GPUS", "0,1")
    monkeypatch.setenv("KETCH_GPU_SHARES", "2")
    await node.start()
    held = (await node.client.get(Node, "n1")).status
    assert (held.capacity["nvidia.com/gpu"], held.allocatable["nvidia.com/gpu"]) == ("4", "4")
    sh = "echo [$CUDA_VISIBLE_DEVICES] [$NVIDIA_VISIBLE_DEVICES]"
    limits = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    await node.create("two", {"sh": sh, **limits})
    await node.create("none", {"sh": sh})
    assert await node.output("two") == "[0,1] [0,1]\n"
    assert await node.output("none") == "[] []\n"
