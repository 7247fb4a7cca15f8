"""How a node joins a cluster: labels, taints, addresses."""

import pytest

from ketch.kube.types.core import Taint
from ketch.local.node.remote.joining import JoinError, address_towards, api_place, parse_labels, parse_taints


def test_labels_and_taints_as_kubelets_take_them() -> None:
    assert parse_labels(["disk=ssd", "example.org/zone=", "a=B.c_d"]) == {
        "disk": "ssd",
        "example.org/zone": "",
        "a": "B.c_d",
    }
    assert parse_taints(["gpu=yes:NoSchedule", "example.org/mine:NoExecute"]) == (
        Taint(key="gpu", value="yes", effect="NoSchedule"),
        Taint(key="example.org/mine", value="", effect="NoExecute"),
    )


@pytest.mark.parametrize("word", ["disk", "=ssd", "disk=s d", "Dis k=a", "a/b/c=d", "disk=-x"])
def test_a_wrong_label_is_named(word: str) -> None:
    with pytest.raises(JoinError, match="expected key=value"):
        parse_labels([word])


@pytest.mark.parametrize("word", ["gpu", "gpu=yes", "gpu=yes:Never", ":NoSchedule", "gpu=y s:NoSchedule"])
def test_a_wrong_taint_is_named(word: str) -> None:
    with pytest.raises(JoinError, match="expected key=value:effect"):
        parse_taints([word])


def test_where_the_api_server_is() -> None:
    assert api_place("https://10.0.0.1:6443") == ("10.0.0.1", 6443)
    assert api_place("https://cluster.example") == ("cluster.example", 443)
    assert api_place("https://[::1]:1") == ("::1", 1)
    with pytest.raises(JoinError, match="expected an address"):
        api_place("10.0.0.1:6443")
    assert address_towards("https://127.0.0.1:6443") == "127.0.0.1"
