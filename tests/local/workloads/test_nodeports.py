"""Services with node ports and external names, as the API server takes them."""

import pytest
from tests.playing import NAMESPACE, a_world

from ketch.kube.codec import decode
from ketch.kube.errors import Invalid
from ketch.kube.types.core import Service


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path) as world:
        yield world


def a_service(name: str = "web", *ports: dict, **spec) -> Service:
    ports = ports or ({"name": "http", "port": 80},)
    spec = {"type": "NodePort", "ports": list(ports)} | spec
    return decode(Service, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})


async def test_ports_are_given_out_once_and_kept(world):
    first = await world.client.create(a_service("a"))
    second = await world.client.create(a_service("b", {"port": 80, "nodePort": 30500}))
    third = await world.client.create(a_service("c"))
    numbers = [each.spec.ports[0].node_port for each in (first, second, third)]
    assert numbers == [30000, 30500, 30001]
    again = await world.client.update(a_service("a"))  # an update that leaves it out
    assert again.spec.ports[0].node_port == 30000
    await world.delete(Service, "a")
    assert (await world.client.create(a_service("d"))).spec.ports[0].node_port == 30000


async def test_another_type_gives_its_port_up(world):
    await world.client.create(a_service())
    changed = await world.edit(Service, "web", {"spec": {"type": "ClusterIP"}})
    assert changed.spec.ports[0].node_port == 0


@pytest.mark.parametrize(
    ("service", "field"),
    [
        (a_service("b", {"port": 80, "nodePort": 30500}), "spec.ports[0].nodePort"),
        (a_service("b", {"port": 80, "nodePort": 80}), "spec.ports[0].nodePort"),
        (a_service("b", type="ExternalName"), "spec.externalName"),
        (a_service("b", clusterIP="None"), "spec.clusterIPs[0]"),
    ],
)
async def test_bad_input_is_refused_by_its_field(world, service, field):
    await world.client.create(a_service("a", {"port": 80, "nodePort": 30500}))
    with pytest.raises(Invalid) as caught:
        await world.client.create(service)
    assert [cause.field for cause in caught.value.details.causes] == [field]
