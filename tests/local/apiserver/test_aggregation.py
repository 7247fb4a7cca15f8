"""API servers behind this one: found, asked as a front proxy asks, merged into discovery, missed when they are away."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.local.apiserver.conftest import Ask
from tests.local.apiserver.test_kubectl import kubectl  # noqa: F401  # a fixture
from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.errors import Invalid, NotFound
from ketch.kube.transport import MERGE_PATCH
from ketch.local.apiserver.auth.pki import Authority

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAMESPACED = "/api/v1/namespaces/default"
ROOT = "/apis/flowers.example.com/v1"
TULIP = {
    "apiVersion": "flowers.example.com/v1",
    "kind": "Flower",
    "metadata": {"name": "tulip", "namespace": "default", "uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "colour": "red",
}


class Other:
    """An API server of one kind, that speaks to nobody but a front proxy."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self.bundle = b""

    async def resources(self, _: web.Request) -> web.StreamResponse:
        flower = {
            "name": "flowers",
            "singularName": "flower",
            "namespaced": True,
            "kind": "Flower",
            "verbs": ["create", "get", "list"],
            "shortNames": ["fl"],
        }
        below = {"name": "flowers/scent", "namespaced": True, "kind": "Scent", "verbs": ["get"], "singularName": ""}
        told = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "flowers.example.com/v1"}
        return web.json_response({**told, "resources": [flower, below]})

    async def objects(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.bodies.append(await request.read())
        if request.path.endswith("/tulip"):
            return web.json_response(TULIP)
        if request.path.endswith("/flowers") and request.method == "GET":
            kind = {"kind": "FlowerList", "apiVersion": "flowers.example.com/v1", "metadata": {}}
            return web.json_response({**kind, "items": [TULIP]})
        return web.json_response({"kind": "Status", "apiVersion": "v1", "code": 418}, status=418)


@pytest.fixture
async def other(served: Any, tmp_path: Path, ask: Ask) -> AsyncIterator[Other]:
    """Another API server, behind a Service, that believes this one's front proxies alone."""
    made = Other()
    authority = await asyncio.to_thread(Authority, tmp_path / "others", SYSTEM_CLOCK)
    context = await asyncio.to_thread(authority.server_context)
    front = await asyncio.to_thread(Authority, served.pki / "front-proxy", SYSTEM_CLOCK)
    context.load_verify_locations(front.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    made.bundle = authority.certificate.read_bytes()
    application = web.Application()
    application.router.add_get(ROOT, made.resources)
    application.router.add_route("*", f"{ROOT}/{{rest:.*}}", made.objects)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = runner.addresses[0][1]
    spec = {"ports": [{"port": 443, "name": "https"}]}
    await ask("POST", f"{NAMESPACED}/services", {"metadata": {"name": "localhost"}, "spec": spec})
    yield made
    await runner.cleanup()


async def reachable(ask: Ask, port: int) -> None:
    body = {
        "metadata": {"name": "flowers-1", "labels": {"kubernetes.io/service-name": "flowers"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
    await ask("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", body)


def registration(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "v1.flowers.example.com"},
        "spec": {
            "group": "flowers.example.com",
            "version": "v1",
            "groupPriorityMinimum": 1000,
            "versionPriority": 10,
            "service": {"namespace": "default", "name": "flowers"},
            "insecureSkipTLSVerify": True,
            **spec,
        },
    }


async def available(ask: Ask, status: str, reason: str) -> None:
    async def said() -> bool:
        found = (await ask("GET", f"{SERVICES}/v1.flowers.example.com")).get("status") or {}
        (condition,) = found.get("conditions") or ({},)
        return (condition.get("status"), condition.get("reason")) == (status, reason)

    await eventually(said, reason)


async def test_kubectl_uses_what_another_server_serves(ask: Ask, other: Other, kubectl: Any) -> None:  # noqa: F811
    await ask("POST", f"{NAMESPACED}/services", {"metadata": {"name": "flowers"}, "spec": SPEC})
    await reachable(ask, other.port)
    await ask("POST", SERVICES, registration())
    await available(ask, "True", "Passed")
    assert "flowers" in await kubectl("api-resources", "--api-group=flowers.example.com")
    assert "flowers.example.com/v1" in await kubectl("api-versions")
    assert "tulip" in await kubectl("get", "fl", "-A")
    assert await kubectl("get", "flower", "tulip", "-o", "jsonpath={.colour}") == "red"
    body = "{apiVersion: flowers.example.com/v1, kind: Flower, metadata: {name: rose}}"
    await kubectl("create", "--validate=false", "-f", "-", stdin=body, code=1)
    request = next(each for each in reversed(other.seen) if each.method == "POST")
    assert b"rose" in other.bodies[other.seen.index(request)]
    assert request.headers["X-Remote-User"] == "kubernetes-admin"
    assert request.headers.getall("X-Remote-Group") == ["system:masters", "system:authenticated"]
    assert "Authorization" not in request.headers
    shown = await kubectl("get", "apiservices")
    assert "default/flowers" in shown
    settings = await ask("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
    assert "BEGIN CERTIFICATE" in settings["data"]["requestheader-client-ca-file"]
    await ask("DELETE", f"{SERVICES}/v1.flowers.example.com")
    assert "flowers.example.com" not in await kubectl("api-versions")


SPEC = {"ports": [{"port": 443, "name": "https"}]}


async def test_rights_are_asked_here(ask: Ask, other: Other, kubectl: Any) -> None:  # noqa: F811  # the fixture
    await ask("POST", f"{NAMESPACED}/services", {"metadata": {"name": "flowers"}, "spec": SPEC})
    await reachable(ask, other.port)
    await ask("POST", SERVICES, registration())
    await available(ask, "True", "Passed")
    other.seen.clear()
    path = f"{ROOT}/namespaces/default/flowers/tulip"
    refused = await kubectl("get", "--raw", path, "--as=jane", code=1)
    assert 'cannot get resource "flowers" in API group "flowers.example.com"' in refused.err
    assert not other.seen
    await kubectl("create", "role", "r", "--verb=get", "--resource=flowers.flowers.example.com")
    await kubectl("create", "rolebinding", "r", "--role=r", "--user=jane")
    assert "red" in await kubectl("get", "--raw", path, "--as=jane", "--as-group=devs", "--as-uid=7")
    headers = other.seen[-1].headers
    assert (headers["X-Remote-User"], headers["X-Remote-Uid"]) == ("jane", "7")
    assert headers.getall("X-Remote-Group") == ["devs", "system:authenticated"]
    assert not any(name.lower().startswith("impersonate") for name in headers)


async def test_a_server_that_is_away(ask: Ask, other: Other, kubectl: Any) -> None:  # noqa: F811  # the fixture
    await ask("POST", SERVICES, registration())
    await available(ask, "False", "ServiceNotFound")
    failed = await kubectl("get", "--raw", f"{ROOT}/namespaces/default/flowers", code=1)
    assert "ServiceUnavailable" in failed.err
    await ask("POST", f"{NAMESPACED}/services", {"metadata": {"name": "flowers"}, "spec": SPEC})
    await available(ask, "False", "MissingEndpoints")
    await reachable(ask, other.port)
    await available(ask, "True", "Passed")
    assert "tulip" in await kubectl("get", "--raw", f"{ROOT}/namespaces/default/flowers")
    await kubectl("get", "pods")


async def test_a_server_whose_certificate_is_not_good(ask: Ask, other: Other) -> None:
    await ask("POST", f"{NAMESPACED}/services", {"metadata": {"name": "flowers"}, "spec": SPEC})
    await reachable(ask, other.port)
    bundle = base64.b64encode(other.bundle).decode()  # good, but for another name than flowers.default.svc
    await ask("POST", SERVICES, registration(insecureSkipTLSVerify=None, caBundle=bundle))
    await available(ask, "False", "FailedDiscoveryCheck")


async def test_nobody_takes_over_what_this_server_serves(ask: Ask) -> None:
    body = registration(group="apps", version="v1")
    body["metadata"]["name"] = "v1.apps"
    await ask("POST", SERVICES, body)
    assert (await ask("GET", "/apis/apps/v1/namespaces/default/deployments"))["items"] == []
    with pytest.raises(NotFound):
        await ask("GET", f"{ROOT}/namespaces/default/flowers")


WRONG = [
    ({"group": "other"}, "metadata.name"),
    ({"versionPriority": 0}, "spec.versionPriority"),
    ({"groupPriorityMinimum": 30000}, "spec.groupPriorityMinimum"),
    ({"service": {"name": "x"}}, "spec.service.namespace: Required value"),
    ({"service": None}, "spec.insecureSkipTLSVerify"),
    ({"caBundle": "bm8="}, "spec.caBundle"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
async def test_what_is_no_registration(ask: Ask, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as refused:
        await ask("POST", SERVICES, registration(**changes))
    assert words in str(refused.value)


async def test_this_servers_own_are_there_to_be_seen(ask: Ask, kubectl: Any) -> None:  # noqa: F811  # the fixture
    async def listed() -> Any:
        found = {each["metadata"]["name"]: each for each in (await ask("GET", SERVICES))["items"]}
        return found if {"v1.", "v1.apps", "v2.autoscaling"} <= found.keys() else None

    found = await eventually(listed)
    assert found["v1.apps"]["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}

    async def shown() -> bool:
        lines = (await kubectl("get", "apiservices")).splitlines()
        return any(line.split()[:3] == ["v1.apps", "Local", "True"] for line in lines)

    await eventually(shown)
    await ask("PATCH", f"{SERVICES}/v1.apps", {"metadata": {"annotations": {"a": "b"}}}, MERGE_PATCH)
