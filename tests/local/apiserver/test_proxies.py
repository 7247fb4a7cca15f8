"""Through the API server to what runs in the cluster: pods/proxy, services/proxy, nodes/proxy."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from kubernetes import client as official
from kubernetes import config
from tests.local.apiserver.conftest import Ask

from ketch.kube.transport import MERGE_PATCH

NAMESPACE = "/api/v1/namespaces/default"
LARGE = 5 << 20


class Program(NamedTuple):
    """What listens in the place of a pod."""

    port: int
    seen: list[dict[str, str]]


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    """A web server on the loopback."""
    seen: list[dict[str, str]] = []

    async def echo(request: web.Request) -> web.StreamResponse:
        seen.append({name.lower(): text for name, text in request.headers.items()})
        body = await request.read()
        told = {"method": request.method, "path": request.raw_path, "body": body.decode(errors="replace")}
        return web.json_response(told, status=207, headers={"x-own": "yes"})

    async def large(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * LARGE)

    async def pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"one,", b"two"):
            await response.write(piece)
        await response.write_eof()
        return response

    async def away(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere?a=b")

    async def socket(request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse(protocols=["chat"])
        await opened.prepare(request)
        async for message in opened:
            await opened.send_str(f"{request.path_qs} {message.data}")
        return opened

    application = web.Application()
    application.router.add_get("/large", large)
    application.router.add_get("/pieces", pieces)
    application.router.add_get("/away", away)
    application.router.add_get("/socket", socket)
    application.router.add_route("*", "/{rest:.*}", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    yield Program(site._server.sockets[0].getsockname()[1], seen)  # type: ignore[attr-defined]
    await runner.cleanup()


@pytest.fixture
async def pod(ask: Ask, program: Program) -> None:
    """A pod ``web`` and a Service of that name, where the program listens."""
    port = {"containerPort": program.port, "name": "http"}
    spec = {"containers": [{"name": "main", "image": "python:3", "ports": [port]}]}
    await ask("POST", f"{NAMESPACE}/pods", {"metadata": {"name": "web"}, "spec": spec})
    status = {"status": {"phase": "Running", "podIP": "127.0.0.1"}}
    await ask("PATCH", f"{NAMESPACE}/pods/web/status", status, MERGE_PATCH)
    ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "other", "port": 81}]
    await ask("POST", f"{NAMESPACE}/services", {"metadata": {"name": "web"}, "spec": {"ports": ports}})
    body = {
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": program.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
    await ask("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", body)


@pytest.fixture
async def http(served: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client of the API server with an administrator's certificate."""
    connection = config.new_client_from_config(str(served.kubeconfig)).configuration
    context = await asyncio.to_thread(_context, connection)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(served.server, connector=connector) as session:
        yield session


def _context(connection: Any) -> Any:
    context = ssl.create_default_context(cafile=connection.ssl_ca_cert)
    context.load_cert_chain(connection.cert_file, connection.key_file)
    return context


@pytest.mark.parametrize("name", ["pods/web", "pods/web:http", "services/web:80", "services/web:http"])
async def test_what_was_asked_is_what_arrives(
    http: aiohttp.ClientSession, program: Program, pod: None, name: str
) -> None:
    url = f"{NAMESPACE}/{name}/proxy/a%2Fb//c/?x=1&x=2&y=%20"
    headers = {"content-type": "text/csv", "cookie": "a=b", "x-remote-user": "root"}
    async with http.post(url, data=b"not,json", headers=headers) as answer:
        told = await answer.json()
        assert (answer.status, answer.headers["x-own"]) == (207, "yes")
    assert told == {"method": "POST", "path": "/a%2Fb//c/?x=1&x=2&y=%20", "body": "not,json"}
    (seen,) = program.seen
    assert (seen["content-type"], seen["cookie"]) == ("text/csv", "a=b")
    assert not {"authorization", "x-remote-user"} & seen.keys()
    assert seen["host"] == f"127.0.0.1:{program.port}"
    assert seen["x-forwarded-uri"].startswith(f"{NAMESPACE}/{name}/proxy/a")


async def test_answers_come_whole_whatever_their_form(http: aiohttp.ClientSession, pod: None) -> None:
    root = f"{NAMESPACE}/pods/web/proxy"
    async with http.get(f"{root}/large") as answer:
        assert len(await answer.read()) == LARGE
    async with http.get(f"{root}/pieces") as answer:
        assert await answer.read() == b"one,two"
    async with http.head(f"{root}/large") as answer:
        assert answer.headers["content-length"] == str(LARGE)
    async with http.get(f"{root}/away", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (302, f"{root}/elsewhere?a=b")
    async with http.get(root, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (301, f"{root}/")
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        async with http.request(method, f"{root}/") as answer:
            assert (await answer.json())["method"] == method


async def test_a_websocket_goes_through(http: aiohttp.ClientSession, pod: None) -> None:
    async with http.ws_connect(f"{NAMESPACE}/pods/web/proxy/socket?a=b", protocols=["chat"]) as opened:
        assert opened.protocol == "chat"
        await opened.send_str("hello")
        assert await opened.receive_str() == "/socket?a=b hello"


REFUSED = [
    ("pods/none/proxy/", 404, 'pods "none" not found'),
    ("pods/web:nope/proxy/", 400, 'invalid port "nope"'),
    ("pods/ftp:web:1/proxy/", 400, "[scheme:]name[:port]"),
    ("pods/web:1/proxy/", 503, 'error trying to reach pod "web"'),
    ("pods/https:web:/proxy/", 503, 'error trying to reach pod "web"'),
    ("services/web/proxy/", 503, 'no service port "" found'),
    ("services/web:81/proxy/", 503, 'no endpoints available for service "web"'),
    ("services/web:82/proxy/", 503, 'no service port "82" found'),
    ("configmaps/web/proxy/", 404, "could not find"),
]


@pytest.mark.parametrize(("path", "code", "words"), REFUSED)
async def test_who_does_not_answer(http: aiohttp.ClientSession, pod: None, path: str, code: int, words: str) -> None:
    async with http.get(f"{NAMESPACE}/{path}") as answer:
        status = await answer.json()
    assert (answer.status, status["kind"]) == (code, "Status")
    assert words in status["message"]


async def test_the_python_client(served: Any, pod: None) -> None:
    def run() -> None:
        core = official.CoreV1Api(config.new_client_from_config(str(served.kubeconfig)))
        told = core.connect_get_namespaced_pod_proxy_with_path("web", "default", "here")
        assert "'path': '/here'" in told
        told = core.connect_post_namespaced_service_proxy_with_path(
            "web:80", "default", "there", _preload_content=False
        )
        assert b'"/there"' in told.data

    await asyncio.to_thread(run)


async def test_a_node_answers_for_itself(ask: Ask, http: aiohttp.ClientSession, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("n") / "s"
    application = web.Application()
    application.router.add_get("/healthz", _well)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    await ask(
        "POST", "/api/v1/nodes", {"metadata": {"name": "n1", "annotations": {"node.ketch.dev/socket": str(path)}}}
    )
    async with http.get("/api/v1/nodes/n1/proxy/healthz") as answer:
        assert await answer.text() == "ok"
    async with http.get("/api/v1/nodes/n1:22/proxy/healthz") as answer:
        assert answer.status == 400
    await runner.cleanup()


async def _well(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def test_rights_are_those_of_the_method(ask: Ask, served: Any, http: aiohttp.ClientSession, pod: None) -> None:
    role = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}]}
    await ask("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", role)
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await ask("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding)
    jane = {"impersonate-user": "jane"}
    async with http.get(f"{NAMESPACE}/pods/web/proxy/", headers=jane) as answer:
        assert answer.status == 207
    for method, path, verb in (("POST", "pods/web", "create"), ("GET", "services/web:80", "get")):
        async with http.request(method, f"{NAMESPACE}/{path}/proxy/", headers=jane) as answer:
            told = (await answer.json())["message"]
        assert answer.status == 403
        assert f'cannot {verb} resource "{path.partition("/")[0]}/proxy"' in told
