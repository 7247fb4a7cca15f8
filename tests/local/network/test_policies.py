"""What is closed between pods stays closed, in the kernel and through the way outside."""

import pytest

from ketch.local.network.client import Block, Opening, PolicyEntry, PortRange, ServiceEntry
from ketch.local.network.policies import permits

TUNNEL = """
import socket
with socket.create_connection(("10.244.0.1", 3128), timeout=5) as way:
    way.sendall(b"CONNECT {host}:{port} HTTP/1.1\\r\\n\\r\\n")
    print(way.recv(4096).split(b"\\r\\n")[0].decode())
"""
ADDRESS = "10.96.3.4"
KNOCK = """
import socket
try:
    socket.create_connection(("{host}", {port}), timeout=0.5)
except OSError as error:
    print(type(error).__name__)
"""


def closed(asker, host, port):
    """Whether nobody answers, neither yes nor no."""
    return asker.run(KNOCK.format(host=host, port=port)).strip() == "TimeoutError"


async def three(pod):
    server, friend, stranger = [await pod(name) for name in ("server", "friend", "stranger")]
    server.serve(8080)
    return server, friend, stranger


async def test_only_those_who_are_let_in_come_in(isolated, pod):
    server, friend, stranger = await three(pod)
    assert stranger.ask(server.ip, 8080) == f"server {stranger.ip}"
    await isolated.client.set_policies([PolicyEntry("ingress", (server.ip,), (Opening(addresses=(friend.ip,)),))])
    assert friend.ask(server.ip, 8080) == f"server {friend.ip}"
    assert closed(stranger, server.ip, 8080)
    with await isolated.client.connect(server.ip, 8080):
        pass  # probes come from the cluster
    await isolated.client.set_policies([])
    assert stranger.ask(server.ip, 8080) == f"server {stranger.ip}"


async def test_a_port_that_is_not_open_is_closed(isolated, pod):
    server, friend, _ = await three(pod)
    server.serve(8081)
    opening = Opening(anyone=True, ports=(PortRange("TCP", 8081, 8090),))
    await isolated.client.set_policies([PolicyEntry("ingress", (server.ip,), (opening,))])
    assert friend.ask(server.ip, 8081) == f"server {friend.ip}"
    assert closed(friend, server.ip, 8080)


async def test_leaving_and_arriving_are_two_questions(isolated, pod):
    server, friend, stranger = await three(pod)
    let_in = PolicyEntry("ingress", (server.ip,), (Opening(anyone=True),))
    kept_in = PolicyEntry("egress", (friend.ip,), (Opening(addresses=(stranger.ip,)),))
    await isolated.client.set_policies([let_in, kept_in])
    assert closed(friend, server.ip, 8080)
    assert stranger.ask(server.ip, 8080) == f"server {stranger.ip}"


async def test_blocks_have_exceptions(isolated, pod):
    server, friend, stranger = await three(pod)
    opening = Opening(blocks=(Block("10.244.0.0/16", (f"{stranger.ip}/32",)),))
    await isolated.client.set_policies([PolicyEntry("ingress", (server.ip,), (opening,))])
    assert friend.ask(server.ip, 8080) == f"server {friend.ip}"
    assert closed(stranger, server.ip, 8080)


async def test_policies_hold_behind_services_and_through_the_proxy(isolated, pod):
    server, friend, stranger = await three(pod)
    await isolated.client.set_services([ServiceEntry(ADDRESS, 80, "TCP", ((server.ip, 8080),))])
    await isolated.client.set_policies([PolicyEntry("ingress", (server.ip,), (Opening(addresses=(friend.ip,)),))])
    assert friend.ask(ADDRESS, 80) == f"server {friend.ip}"
    assert closed(stranger, ADDRESS, 80)
    for host, port in ((server.ip, 8080), (ADDRESS, 80)):
        assert friend.run(TUNNEL.format(host=host, port=port)).startswith("HTTP/1.1 200")
        assert stranger.run(TUNNEL.format(host=host, port=port)).startswith("HTTP/1.1 403")


OUT = PolicyEntry("egress", ("10.244.0.9",), (Opening(blocks=(Block("203.0.113.0/24"),)),))
FREE = PolicyEntry("egress", ("10.244.0.9",), (Opening(blocks=(Block("0.0.0.0/0", ("10.0.0.0/8",)),)),))


@pytest.mark.parametrize(
    ("entries", "destination", "permitted"),
    [
        pytest.param([], "10.244.0.2", True, id="no policy"),
        pytest.param([OUT], "203.0.113.7", True, id="within the block"),
        pytest.param([OUT], "198.51.100.1", False, id="outside of it"),
        pytest.param([OUT], None, False, id="a name that may be anywhere"),
        pytest.param([FREE], None, True, id="a name, where all outside is open"),
        pytest.param([FREE], "10.1.1.1", False, id="an exception"),
        pytest.param([OUT, FREE], "198.51.100.1", True, id="policies add up"),
    ],
)
def test_the_way_outside(entries, destination, permitted):
    assert permits(entries, "10.244.0.9", destination, 443) is permitted
