"""Endpoints of Services, by table and on the real API server."""

import pytest
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.containers import Container, ContainerPort
from ketch.kube.types.core import Endpoints, Service
from ketch.kube.types.discovery import EndpointSlice
from ketch.kube.types.pods import Pod, PodSpec
from ketch.kube.types.services import ServicePort, ServiceSpec
from ketch.local.workloads import endpoints
from ketch.local.workloads.endpoints import SLICE_SIZE, Place, slices, target

KEY = ObjectKey(NAMESPACE, "web")
LABELS = {"app": "web"}


def a_service(*ports: ServicePort, **spec) -> Service:
    ports = ports or (ServicePort(port=80, name="http", target_port=8080, protocol="TCP"),)
    spec = ServiceSpec(selector=LABELS, ports=ports, **spec)
    return Service(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=spec)


def serving(name: str, number: int = 8080) -> Pod:
    port = ContainerPort(name="http", container_port=number)
    return a_pod(name, LABELS, containers=(Container(name="main", image="python:3.11", ports=(port,)),))


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        pytest.param(None, 80, id="the service's own number"),
        pytest.param(9000, 9000, id="a number"),
        pytest.param("http", 8080, id="the name of a container's port"),
        pytest.param("grpc", None, id="a name that the pod lacks"),
    ],
)
def test_target_ports(wanted, number):
    assert target(ServicePort(port=80, target_port=wanted), serving("a")) == number


def test_a_named_port_of_another_protocol_is_another_port():
    assert target(ServicePort(port=53, target_port="http", protocol="UDP"), serving("a")) is None


def test_long_lists_are_cut_into_slices():
    made = slices(a_service(), [Place(serving(f"p{number}"), ()) for number in range(2 * SLICE_SIZE + 1)])
    assert [len(each.endpoints) for each in made] == [SLICE_SIZE, SLICE_SIZE, 1]
    assert [each.metadata.name for each in made] == ["web", "web-1", "web-2"]


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, endpoints.setup) as world:
        yield world


async def run(world, name: str, number: int = 1, **play) -> None:
    await world.play(await world.get(Pod, name), podIP=f"10.244.0.{number}", **play)
    await world.settle()


async def listed(world) -> list[tuple[str, bool, bool]]:
    found = [each for part in await world.all(EndpointSlice) for each in part.endpoints]
    return [(each.addresses[0], bool(each.conditions.ready), bool(each.conditions.terminating)) for each in found]


async def test_pods_come_serve_and_go(world):
    await world.client.create(a_service())
    for number, name in enumerate(("a", "b"), 1):
        await world.client.create(serving(name))
        await world.client.create_subresource(Pod, name, NAMESPACE, "binding", {"target": {"name": "node"}})
        await run(world, name, number, ready=False)
    assert await listed(world) == [("10.244.0.1", False, False), ("10.244.0.2", False, False)]
    await run(world, "a", 1)
    assert await listed(world) == [("10.244.0.1", True, False), ("10.244.0.2", False, False)]
    subset = (await world.get(Endpoints, "web")).subsets[0]
    assert ([each.ip for each in subset.addresses], [each.ip for each in subset.not_ready_addresses]) == (
        ["10.244.0.1"],
        ["10.244.0.2"],
    )
    assert (subset.ports[0].port, subset.ports[0].name) == (8080, "http")
    await world.delete(Pod, "a")
    await world.settle()
    assert await listed(world) == [("10.244.0.1", False, True), ("10.244.0.2", False, False)]
    await run(world, "b", 2, phase="Succeeded")
    assert await listed(world) == [("10.244.0.1", False, True)]
    assert await world.settles("endpoints", KEY)


async def test_addresses_may_be_published_before_they_serve(world):
    await world.client.create(a_service(publish_not_ready_addresses=True, cluster_ip="None"))
    await world.client.create(serving("a"))
    await run(world, "a", ready=False)
    (only,) = await world.all(EndpointSlice)
    assert only.endpoints[0].conditions.ready is True
    assert only.endpoints[0].conditions.serving is False
    assert only.metadata.labels["service.kubernetes.io/headless"] == ""
    assert (await world.get(Endpoints, "web")).subsets[0].addresses[0].ip == "10.244.0.1"


async def test_pods_with_a_hostname_in_the_services_subdomain_are_named(world):
    await world.client.create(a_service(cluster_ip="None"))
    spec = PodSpec(containers=serving("a").spec.containers, hostname="rank-0", subdomain="web")
    await world.client.create(Pod(metadata=ObjectMeta(name="a", namespace=NAMESPACE, labels=LABELS), spec=spec))
    await run(world, "a")
    assert (await world.all(EndpointSlice))[0].endpoints[0].hostname == "rank-0"
    assert (await world.get(Endpoints, "web")).subsets[0].addresses[0].hostname == "rank-0"


async def test_pods_whose_named_port_differs_get_slices_of_their_own(world):
    await world.client.create(a_service(ServicePort(port=80, name="http", target_port="http", protocol="TCP")))
    for number, name in enumerate(("a", "b"), 1):
        await world.client.create(serving(name, 8000 + number))
        await run(world, name, number)
    assert sorted(each.ports[0].port for each in await world.all(EndpointSlice)) == [8001, 8002]
    await world.delete(Pod, "b")
    await world.settle()
    assert [each.ports[0].port for each in await world.all(EndpointSlice)] == [8001]


async def test_drift_is_repaired(world):
    await world.client.create(a_service())
    await world.client.create(serving("a"))
    await run(world, "a")
    await world.edit(EndpointSlice, "web", {"endpoints": []})
    await world.delete(Endpoints, "web")
    await world.settle()
    assert await listed(world) == [("10.244.0.1", True, False)]
    assert (await world.get(Endpoints, "web")).subsets


async def test_a_service_without_selector_is_left_to_others(world):
    service = a_service()
    await world.client.create(Service(metadata=service.metadata, spec=ServiceSpec(ports=service.spec.ports)))
    await world.settle()
    assert await world.get(EndpointSlice, "web") is None


async def test_endpoints_go_with_their_service(world):
    await world.client.create(a_service())
    await world.settle()
    await world.delete(Service, "web")
    await world.settle()
    assert await world.get(Endpoints, "web") is None
    assert await world.settles("endpoints", KEY)


async def test_a_pod_is_found_by_selectors_of_every_shape_and_by_those_that_changed(world):
    selectors = {"one": {"app": "web"}, "two": {"app": "web", "tier": "front"}, "other": {"tier": "back"}, "none": {}}
    for name, selector in selectors.items():
        spec = ServiceSpec(selector=selector, ports=(ServicePort(port=80, protocol="TCP"),))
        await world.client.create(Service(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=spec))
    await world.settle()
    await world.client.create(a_pod("a", {"app": "web", "tier": "front", "more": "x"}))
    await world.client.create_subresource(Pod, "a", NAMESPACE, "binding", {"target": {"name": "node"}})
    await run(world, "a")

    async def behind() -> set[str]:
        found = await world.all(EndpointSlice)
        return {each.metadata.labels["kubernetes.io/service-name"] for each in found if each.endpoints}

    assert await behind() == {"one", "two"}
    await world.edit(Service, "two", {"spec": {"selector": {"tier": "back"}}})
    await world.edit(Service, "other", {"spec": {"selector": {"tier": None, "more": "x"}}})
    await world.settle()
    assert await behind() == {"one", "other"}
    await run(world, "a", 2)
    assert {address for address, _, _ in await listed(world)} == {"10.244.0.2"}


async def test_a_name_elsewhere_has_no_endpoints(world):
    await world.client.create(serving("a"))
    await run(world, "a")
    await world.client.create(a_service())
    await world.settle()
    assert await listed(world) == [("10.244.0.1", True, False)]
    await world.edit(Service, "web", {"spec": {"type": "ExternalName", "externalName": "example.org", "ports": None}})
    await world.settle()
    assert await world.all(EndpointSlice) + await world.all(Endpoints) == []
    assert await world.settles("endpoints", KEY)
