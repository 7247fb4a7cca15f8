"""What a pod needs, read off its spec."""

import pytest
from tests.playing import a_pod

from ketch.kube.types.containers import Container, ContainerPort, ResourceRequirements
from ketch.kube.types.volumes import ClaimVolume, EphemeralVolume, Volume
from ketch.local.scheduler.needs import needs_of, requests


def asking(cpu: str, *, restart: str | None = None, **more: str) -> Container:
    return Container(
        name=f"c{cpu}",
        restart_policy=restart,
        resources=ResourceRequirements(requests={"cpu": cpu, **{k.replace("_", "."): v for k, v in more.items()}}),
    )


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        pytest.param({"containers": (asking("1"), asking("500m"))}, 1500, id="containers add up"),
        pytest.param(
            {"containers": (asking("1"),), "init_containers": (asking("3"), asking("2"))}, 3000, id="one init at a time"
        ),
        pytest.param(
            {"containers": (asking("1"),), "init_containers": (asking("1", restart="Always"), asking("2"))},
            3000,
            id="an init container runs beside sidecars begun before it",
        ),
        pytest.param(
            {"containers": (asking("1"),), "init_containers": (asking("2"), asking("1", restart="Always"))},
            2000,
            id="but not beside later ones",
        ),
        pytest.param({"containers": (asking("1"),), "overhead": {"cpu": "100m"}}, 1100, id="overhead is added"),
        pytest.param(
            {"containers": (asking("1"),), "unknown_fields": {"resources": {"requests": {"cpu": "5"}}}},
            5000,
            id="the pod's own request goes before",
        ),
    ],
)
def test_requests(spec, cpu):
    assert requests(a_pod(**spec).spec)["cpu"] == cpu


def test_pods_with_equal_needs_are_told_apart_by_labels_only_where_their_own_terms_look_at_them():
    plain = [needs_of(a_pod(labels={"index": str(number)})) for number in range(2)]
    assert plain[0] == plain[1]
    assert hash(plain[0]) == hash(plain[1])
    term = {"labelSelector": {"matchLabels": {"index": "0"}}, "topologyKey": "zone"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    looking = [needs_of(a_pod(labels={"index": str(number)}, affinity=affinity)) for number in range(2)]
    assert looking[0] != looking[1]


def test_claims_are_those_mounted_and_those_made_for_the_pod():
    volumes = (
        Volume(name="a", persistent_volume_claim=ClaimVolume(claim_name="data")),
        Volume(name="b", ephemeral=EphemeralVolume()),
    )
    assert needs_of(a_pod("p", volumes=volumes)).claims == ("data", "p-b")


@pytest.mark.parametrize(
    ("host_network", "numbers"),
    [pytest.param(False, [9000], id="host ports"), pytest.param(True, [9000, 8080], id="every port on host network")],
)
def test_ports(host_network, numbers):
    ports = (ContainerPort(container_port=80, host_port=9000), ContainerPort(container_port=8080))
    pod = a_pod(containers=(Container(name="main", ports=ports),), host_network=host_network)
    assert [port.number for port in needs_of(pod).ports] == numbers
