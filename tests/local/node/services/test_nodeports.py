"""Services with node ports, from this machine's loopback to real pods."""

import asyncio
import contextlib
import socket

from tests.waiting import eventually

from ketch.kube.codec import decode
from ketch.kube.types.core import Service
from ketch.kube.types.discovery import EndpointSlice
from ketch.local.node.services.nodeports import wanted


def a_port() -> int:
    """A port of the range of node ports that nobody uses."""
    for number in range(32767, 30000, -1):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", number)):
            return number
    raise AssertionError("all node ports are taken")


def a_service(number: int, name: str = "web", **spec) -> Service:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": number}]
    body = {"metadata": {"name": name, "namespace": "default"}, "spec": {"type": "NodePort", "ports": ports} | spec}
    return decode(Service, body)


def a_slice(address: str) -> EndpointSlice:
    body = {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
    return decode(EndpointSlice, body)


def test_what_is_opened():
    slices = {("default", "web"): [a_slice("10.244.0.9")]}
    found = wanted([a_service(30080), a_service(30081, "inner", type="ClusterIP"), a_service(30082, "none")], slices)
    assert {port: endpoints for port, (_, endpoints) in found.items()} == {30080: (("10.244.0.9", 8080),), 30082: ()}


async def said(port: int) -> str:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            text = await reader.read(100)
        writer.close()
    except (OSError, TimeoutError):
        return ""
    return text.decode()


async def test_a_pod_is_reached_at_its_services_port(node):
    number = a_port()
    await node.create("web", {"image": "python:3.11", "command": ["python3", "-c", PYTHON]})
    pod = await node.until("web", lambda pod: pod.status.phase == "Running" and pod.status.pod_ip)
    await node.client.create(a_service(number))
    await node.client.create(a_slice(pod.status.pod_ip))

    async def answers() -> bool:
        return await said(number) == "hello\n"

    await eventually(answers, "the node port")
    await node.client.delete(Service, "web", "default")

    async def is_closed() -> bool:
        return await said(number) == ""

    await eventually(is_closed, "the end of the node port")


PYTHON = """
import socket
server = socket.create_server(("0.0.0.0", 8080))
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello\\n")
    connection.close()
"""


async def test_a_port_that_is_taken_is_told(node):
    number = a_port()
    with socket.create_server(("127.0.0.1", number)):
        await node.client.create(a_service(number))
        (message,) = await node.messages("NodePortUnavailable")
    assert str(number) in message
