"""What the network is told of Services and names, by tables; and that pods find each other by them."""

import pytest

from ketch.kube.codec import decode
from ketch.kube.types.core import Pod, Service
from ketch.kube.types.discovery import EndpointSlice
from ketch.local.network.client import ServiceEntry
from ketch.local.node.services.proxy import tables

DEFAULT_PORT = {"name": "http", "port": 80, "protocol": "TCP"}


def a_service(name, ip, **spec):
    return decode(
        Service,
        {
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"clusterIP": ip, "ports": [DEFAULT_PORT], **spec},
        },
    )


def a_slice(service, *endpoints, port=8080):
    return decode(
        EndpointSlice,
        {
            "metadata": {
                "name": f"{service}-x",
                "namespace": "team",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": endpoints,
        },
    )


def an_endpoint(ip, hostname=None, *, ready=True):
    return {"addresses": [ip], "conditions": {"ready": ready}, "hostname": hostname}


def test_a_service_has_an_address_and_its_ready_endpoints():
    slices = {("team", "web"): [a_slice("web", an_endpoint("10.244.0.2"), an_endpoint("10.244.0.3", ready=False))]}
    found = tables([a_service("web", "10.96.0.20")], slices, [])
    assert found.services == (ServiceEntry("10.96.0.20", 80, "TCP", (("10.244.0.2", 8080),)),)
    assert found.names == {"web.team.svc.cluster.local": ("10.96.0.20",)}


def test_a_service_without_endpoints_still_has_its_entry():
    found = tables([a_service("web", "10.96.0.20")], {}, [])
    assert found.services == (ServiceEntry("10.96.0.20", 80, "TCP", ()),)


def test_a_headless_service_names_its_pods():
    slices = {("team", "ring"): [a_slice("ring", an_endpoint("10.244.0.2", "a"), an_endpoint("10.244.0.3", "b"))]}
    found = tables([a_service("ring", "None")], slices, [])
    assert found.services == ()
    assert found.names == {
        "ring.team.svc.cluster.local": ("10.244.0.2", "10.244.0.3"),
        "a.ring.team.svc.cluster.local": ("10.244.0.2",),
        "b.ring.team.svc.cluster.local": ("10.244.0.3",),
    }


def test_an_external_name_stands_for_another():
    service = a_service("far", "", type="ExternalName", externalName="db.example")
    assert tables([service], {}, []).names == {"far.team.svc.cluster.local": ("db.example",)}


def test_a_pod_has_a_name_by_its_address():
    pod = decode(Pod, {"metadata": {"name": "p", "namespace": "team"}, "status": {"podIP": "10.244.0.9"}})
    assert tables([], {}, [pod]).names == {"10-244-0-9.team.pod.cluster.local": ("10.244.0.9",)}


SERVE = "import http.server as h, os; h.HTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
ASK = (
    "import time, urllib.request as u\n"
    "o = u.build_opener(u.ProxyHandler({}))\n"
    "for _ in range(100):\n"
    "    try:\n"
    "        print(o.open('http://web/', timeout=5).status); break\n"
    "    except OSError: time.sleep(0.1)\n"
)


async def test_a_pod_reaches_another_by_its_service_s_name(node):
    if (await node.network.info()).mode != "isolated":
        pytest.skip("no isolated network on this machine")
    await node.create("server", {"command": ["python3", "-c", SERVE]})
    server = await node.phase("server", "Running")
    spec = {"selector": {}, "ports": [{**DEFAULT_PORT, "targetPort": 8080}]}
    service = {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}
    await node.client.create(decode(Service, service))
    endpoints = a_slice("web", an_endpoint(server.status.pod_ip)).to_json()
    endpoints["metadata"]["namespace"] = "default"
    await node.client.create(decode(EndpointSlice, endpoints))
    await node.create("asker", {"command": ["python3", "-c", ASK]})
    assert await node.output("asker") == "200\n"
