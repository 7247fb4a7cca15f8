"""Webhooks: a real HTTPS server that is asked, changes, refuses, fails."""

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.errors import APIError, Forbidden, InternalError, Invalid
from ketch.kube.transport import APPLY_PATCH, MERGE_PATCH, Request
from ketch.local.apiserver.admission.calls import dial_directly
from ketch.local.apiserver.auth.pki import Authority
from ketch.local.apiserver.server import APIServer

GROUP = "/apis/admissionregistration.k8s.io/v1"
MUTATING, VALIDATING = f"{GROUP}/mutatingwebhookconfigurations", f"{GROUP}/validatingwebhookconfigurations"
MAPS = "/api/v1/namespaces/default/configmaps"
Reply = Callable[[dict[str, Any]], dict[str, Any]]


def allow(request: dict[str, Any]) -> dict[str, Any]:
    return {"uid": request["uid"], "allowed": True}


def patch(*operations: dict[str, Any]) -> Reply:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return lambda request: {**allow(request), "patchType": "JSONPatch", "patch": encoded}


def deny(**status: Any) -> Reply:
    return lambda request: {"uid": request["uid"], "allowed": False, "status": status}


class Webhook:
    """An HTTPS server; ``reply`` answers by path, ``asked`` keeps the requests by path."""

    def __init__(self, api: APIServer) -> None:
        self.api = api
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.reply: dict[str, Reply] = {}
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [line for line in head.split("\r\n") if line.startswith("content-length: ")]
                review = json.loads(await reader.readexactly(int(lengths[0].split()[1])))
                path = head.split()[1]
                self.asked.append((path, review["request"]))
                body = json.dumps({**review, "request": None, "response": self.reply[path](review["request"])}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        writer.close()

    async def stay_silent(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)

    def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    def client(self, path: str) -> dict[str, Any]:
        bundle = base64.b64encode(self.api.authority.certificate.read_bytes()).decode()
        return {"url": f"https://localhost:{self.port}{path}", "caBundle": bundle}

    def hook(self, reply: Reply, path: str = "/", **more: Any) -> dict[str, Any]:
        self.reply[path] = reply
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}
        return {
            "name": f"{path.strip('/') or 'hook'}.example.com",
            "clientConfig": self.client(path),
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **more,
        }


@pytest.fixture
async def webhook(api: APIServer) -> AsyncIterator[Webhook]:
    made = Webhook(api)
    context = api.authority.server_context()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    await api.close()
    made.close()
    server.close()


def a_map(name: str = "m", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **meta}, "data": {"a": "b"}}


async def register(ask: Any, path: str, *hooks: dict[str, Any], name: str = "hooks") -> None:
    await ask("POST", path, {"metadata": {"name": name}, "webhooks": list(hooks)})


async def test_a_webhook_changes_what_is_written(ask: Any, webhook: Webhook) -> None:
    label = patch({"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}})
    await register(ask, MUTATING, webhook.hook(label))
    made = await ask("POST", MAPS, a_map())
    assert made["metadata"]["labels"] == {"seen": "yes"}
    ((_, request),) = webhook.asked
    assert request["operation"] == "CREATE"
    assert request["object"]["data"] == {"a": "b"}
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert (request["namespace"], request["name"], request["dryRun"]) == ("default", "m", False)
    assert request["userInfo"]["username"] == "system:apiserver"
    await ask("PATCH", f"{MAPS}/m", {"data": {"a": "c"}}, content_type=MERGE_PATCH)
    _, request = webhook.asked[-1]
    assert request["operation"] == "UPDATE"
    assert (request["oldObject"]["data"], request["object"]["data"]) == ({"a": "b"}, {"a": "c"})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}}
    applied = await ask("PATCH", f"{MAPS}/n", body, content_type=APPLY_PATCH, query={"fieldManager": "me"})
    assert applied["metadata"]["labels"] == {"seen": "yes"}
    assert webhook.connections == 1, "connections are kept"


async def test_a_webhook_refuses(ask: Any, webhook: Webhook) -> None:
    await register(ask, VALIDATING, webhook.hook(deny(message="not today")))
    with pytest.raises(Forbidden) as caught:
        await ask("POST", MAPS, a_map())
    assert caught.value.message == 'admission webhook "hook.example.com" denied the request: not today'
    webhook.reply["/"] = deny(code=409, reason="Conflict", message="busy")
    with pytest.raises(APIError) as other:
        await ask("POST", MAPS, a_map())
    assert (other.value.http_code, other.value.status_reason) == (409, "Conflict")
    assert (await ask("GET", MAPS))["items"] == []


async def test_a_webhook_decides_about_deletions(ask: Any, webhook: Webhook) -> None:
    await ask("POST", MAPS, a_map())
    await register(ask, VALIDATING, webhook.hook(deny()))
    with pytest.raises(Forbidden, match="without explanation"):
        await ask("DELETE", f"{MAPS}/m")
    with pytest.raises(Forbidden):
        await ask("DELETE", MAPS)
    _, request = webhook.asked[0]
    assert (request["operation"], request["object"], request["oldObject"]["metadata"]["name"]) == ("DELETE", None, "m")
    webhook.reply["/"] = allow
    await ask("DELETE", f"{MAPS}/m")


async def test_webhooks_that_cannot_be_asked(ask: Any, webhook: Webhook) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"https://localhost:{unused.getsockname()[1]}/"
        hook = webhook.hook(allow)
        hook["clientConfig"] = {**hook["clientConfig"], "url": nowhere}
        await register(ask, VALIDATING, hook)
        with pytest.raises(
            InternalError, match=r'failed calling webhook "hook.example.com": failed to call webhook: Post'
        ):
            await ask("POST", MAPS, a_map())
        await ask("PATCH", f"{VALIDATING}/hooks", {"webhooks": [{**hook, "failurePolicy": "Ignore"}]}, MERGE_PATCH)
        await ask("POST", MAPS, a_map())


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        pytest.param(lambda _: {"uid": "other", "allowed": True}, "expected response.uid", id="an answer to another"),
        pytest.param(lambda request: {**allow(request), "patch": "e30="}, "unsupported patch type", id="no JSON patch"),
        pytest.param(
            lambda request: {**allow(request), "patch": "x", "patchType": "JSONPatch"}, "cannot be read", id="no patch"
        ),
        pytest.param(patch({"op": "test", "path": "/x", "value": 1}), "failed to apply the patch", id="does not fit"),
    ],
)
async def test_answers_that_cannot_be_used(ask: Any, webhook: Webhook, reply: Reply, why: str) -> None:
    await register(ask, MUTATING, webhook.hook(reply))
    with pytest.raises(InternalError, match=why):
        await ask("POST", MAPS, a_map())


async def test_a_webhook_with_a_certificate_of_somebody_else(ask: Any, webhook: Webhook, tmp_path: Path) -> None:
    other = base64.b64encode(Authority(tmp_path / "other", SYSTEM_CLOCK).certificate.read_bytes()).decode()
    hook = webhook.hook(allow)
    await register(ask, VALIDATING, {**hook, "clientConfig": {**hook["clientConfig"], "caBundle": other}})
    with pytest.raises(InternalError, match="certificate verify failed"):
        await ask("POST", MAPS, a_map())


async def test_a_webhook_that_takes_too_long(ask: Any, api: APIServer) -> None:
    webhook = Webhook(api)
    silent = await asyncio.start_server(webhook.stay_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    hook = webhook.hook(allow, timeoutSeconds=1)
    hook["clientConfig"]["url"] = f"https://localhost:{port}/"
    await register(ask, VALIDATING, hook)
    with pytest.raises(InternalError, match="context deadline exceeded"):
        await ask("POST", MAPS, a_map())
    webhook.close()
    silent.close()


async def test_who_is_asked(ask: Any, webhook: Webhook) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "strict", "labels": {"mode": "strict"}}})
    hooks = [
        webhook.hook(allow, "/space", namespaceSelector={"matchLabels": {"mode": "strict"}}),
        webhook.hook(allow, "/object", objectSelector={"matchLabels": {"ask": "me"}}),
        webhook.hook(
            allow,
            "/condition",
            matchConditions=[
                {"name": "user", "expression": "request.userInfo.username.startsWith('system:')"},
                {"name": "data", "expression": "object.?data.?a.orValue('') == 'b'"},
                {"name": "may", "expression": "authorizer.group('').resource('pods').check('get').allowed()"},
            ],
        ),
        webhook.hook(allow, "/never", matchConditions=[{"name": "no", "expression": "false"}]),
    ]
    await register(ask, VALIDATING, *hooks)
    await ask("POST", MAPS, a_map("one"))
    assert [path for path, _ in webhook.asked] == ["/condition"]
    webhook.asked.clear()
    elsewhere = MAPS.replace("default", "strict")
    await ask("POST", elsewhere, {"metadata": {"name": "two", "labels": {"ask": "me"}}})
    assert sorted(path for path, _ in webhook.asked) == ["/object", "/space"]
    await ask("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    assert len(webhook.asked) == 2


async def test_a_condition_that_fails(ask: Any, webhook: Webhook) -> None:
    condition = [{"name": "broken", "expression": "object.nothing == 1"}]
    await register(ask, VALIDATING, webhook.hook(deny(), matchConditions=condition))
    with pytest.raises(Forbidden, match='evaluation of matchCondition "broken": no such key: nothing'):
        await ask("POST", MAPS, a_map())
    await ask("DELETE", f"{VALIDATING}/hooks")
    await register(ask, VALIDATING, webhook.hook(deny(), matchConditions=condition, failurePolicy="Ignore"))
    await ask("POST", MAPS, a_map())


async def test_mutating_webhooks_come_in_order_and_again_if_they_ask_for_it(ask: Any, webhook: Webhook) -> None:
    def count(request: dict[str, Any]) -> dict[str, Any]:
        number = int((request["object"]["metadata"].get("annotations") or {}).get("count", "0")) + 1
        value = {"count": str(number)}
        return patch({"op": "add", "path": "/metadata/annotations", "value": value})(request)

    late = patch({"op": "add", "path": "/metadata/labels", "value": {"late": "yes"}})
    first = webhook.hook(count, "/first", reinvocationPolicy="IfNeeded")
    second = webhook.hook(late, "/second")
    await register(ask, MUTATING, first, second)
    made = await ask("POST", MAPS, a_map())
    assert [path for path, _ in webhook.asked] == ["/first", "/second", "/first"]
    assert (made["metadata"]["annotations"], made["metadata"]["labels"]) == ({"count": "2"}, {"late": "yes"})


async def test_a_dry_run_is_told(ask: Any, webhook: Webhook) -> None:
    await register(ask, VALIDATING, webhook.hook(allow))
    await ask("POST", MAPS, a_map(), query={"dryRun": "All"})
    assert webhook.asked[0][1]["dryRun"] is True
    assert (await ask("GET", MAPS))["items"] == []


async def test_registrations_can_always_be_mended(ask: Any, webhook: Webhook) -> None:
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}
    await register(ask, VALIDATING, webhook.hook(deny(), rules=[rule]))
    with pytest.raises(Forbidden):
        await ask("POST", MAPS, a_map())
    await ask("DELETE", f"{VALIDATING}/hooks")
    await ask("POST", MAPS, a_map())


async def test_a_write_while_others_are_asked_is_not_lost(ask: Any, api: APIServer, webhook: Webhook) -> None:
    await ask("POST", MAPS, a_map())
    await register(ask, VALIDATING, webhook.hook(allow))
    bodies = [{"data": {f"k{number}": "v"}} for number in range(12)]
    await asyncio.gather(*(ask("PATCH", f"{MAPS}/m", body, content_type=MERGE_PATCH) for body in bodies[:6]))
    assert set((await ask("GET", f"{MAPS}/m"))["data"]) == {"a", *(f"k{number}" for number in range(6))}


async def test_webhooks_behind_services(api: APIServer, tmp_path: Path) -> None:
    dialled: list[tuple[str, int]] = []

    async def dial(host: str, port: int) -> socket.socket:
        dialled.append((host, port))
        return await dial_directly("127.0.0.1", made.port)

    async with APIServer(tmp_path / "two.db", tmp_path / "pki", dial=dial) as other:
        made = Webhook(other)
        context = other.authority.server_context()
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
        made.port = server.sockets[0].getsockname()[1]
        transport = other.transport()

        async def ask(method: str, path: str, body: Any = None) -> Any:
            return await transport.request(Request(method, path, {}, body))

        hook = made.hook(allow, "/")
        bundle = hook["clientConfig"]["caBundle"]
        hook["clientConfig"] = {"service": {"namespace": "default", "name": "kubernetes"}, "caBundle": bundle}
        await register(ask, VALIDATING, hook)
        with pytest.raises(InternalError, match='no endpoints available for service "kubernetes"'):
            await ask("POST", MAPS, a_map())
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        body = {
            "metadata": {"name": "k", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": 9443}],
            "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": True}}],
        }
        await ask("POST", slices, body)
        await ask("POST", MAPS, a_map())
        assert dialled == [("10.244.0.9", 9443)]
    made.close()
    server.close()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"name": "short"}, "webhooks[0].name", id="a name that is no domain"),
        pytest.param({"sideEffects": "Some"}, "webhooks[0].sideEffects", id="side effects"),
        pytest.param({"timeoutSeconds": 31}, "webhooks[0].timeoutSeconds", id="too patient"),
        pytest.param({"clientConfig": {}}, "webhooks[0].clientConfig", id="nobody to ask"),
        pytest.param({"clientConfig": {"url": "http://a/"}}, "webhooks[0].clientConfig.url", id="no TLS"),
        pytest.param({"admissionReviewVersions": ["v9"]}, "webhooks[0].admissionReviewVersions", id="no language"),
        pytest.param(
            {"matchConditions": [{"name": "a", "expression": "nothing"}]},
            "webhooks[0].matchConditions[0].expression",
            id="a condition that cannot be read",
        ),
    ],
)
async def test_a_registration_is_refused_for(ask: Any, api: APIServer, change: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await register(ask, VALIDATING, {**Webhook(api).hook(allow), **change})
    assert field in [cause.field for cause in caught.value.causes]
