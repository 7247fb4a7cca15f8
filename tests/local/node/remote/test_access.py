"""Who may ask a node: certificates, and what the API server says of whom they name."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ketch.kube.client import Client
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.apiserver.server import APIServer
from ketch.local.node.remote.access import Asker, NodeAccess, Question, asker_of, question_of, server_context
from ketch.local.node.remote.certificates import serving_pair

ANN = Asker("ann", ("team",))
READS = {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]}


def test_whom_a_certificate_names() -> None:
    subject = ((("organizationName", "team"),), (("organizationName", "other"),), (("commonName", "ann"),))
    assert asker_of({"subject": subject}) == Asker("ann", ("team", "other"))
    assert asker_of({}) == Asker("", ())


@pytest.mark.parametrize(
    ("method", "path", "verb", "subresource"),
    [
        ("GET", "/containerLogs/n/p/c", "get", "proxy"),
        ("GET", "/exec/n/p/c", "create", "proxy"),
        ("GET", "/attach/n/p/c", "create", "proxy"),
        ("GET", "/portForward/n/p", "create", "proxy"),
        ("POST", "/anything", "create", "proxy"),
        ("GET", "/usage", "get", "stats"),
        ("GET", "/healthz", "get", "healthz"),
    ],
)
def test_what_a_request_comes_to(method: str, path: str, verb: str, subresource: str) -> None:
    assert question_of(ANN, method, path) == Question(ANN, verb, subresource)


@pytest.fixture
async def door(api: APIServer, client: Client, tmp_path: Path) -> AsyncIterator[str]:
    """A node's door with nothing behind it but a word."""

    async def word(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"{request.method} {request.path}")

    access = NodeAccess(client, SYSTEM_CLOCK, "n1")
    application = web.Application(middlewares=[access.middleware()])
    application.router.add_route("*", "/{rest:.*}", word)
    pair = serving_pair(tmp_path, "n1", "127.0.0.1", SYSTEM_CLOCK)
    context = server_context(*pair, api.authority.certificate.read_text())
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def asked(url: str, tmp_path: Path, pair: tuple[Path, Path] | None = None) -> tuple[int, str]:
    """A request that knows the node by the certificate that it tells."""
    context = ssl.create_default_context(cafile=str(tmp_path / "node-serving.crt"))
    if pair is not None:
        context.load_cert_chain(*pair)
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        return answer.status, await answer.text()


async def test_only_those_may_of_whom_the_api_server_says_so(
    api: APIServer, client: Client, door: str, tmp_path: Path
) -> None:
    with pytest.raises(aiohttp.ClientError):
        await asked(f"{door}/containerLogs/n/p/c", tmp_path)
    administrator = api.authority.client_pair("admin", "root", ("system:masters",))
    assert await asked(f"{door}/exec/n/p/c", tmp_path, administrator) == (200, "GET /exec/n/p/c")
    ann = api.authority.client_pair("ann", *ANN)
    status, text = await asked(f"{door}/containerLogs/n/p/c", tmp_path, ann)
    assert status == 403
    assert "user=ann, verb=get, resource=nodes, subresource=proxy" in text


async def test_a_right_to_read_is_none_to_enter(api: APIServer, client: Client, door: str, tmp_path: Path) -> None:
    rbac: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "readers"}}
    root = "/apis/rbac.authorization.k8s.io/v1"
    await client.request("POST", f"{root}/clusterroles", body={**rbac, "kind": "ClusterRole", "rules": [READS]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "readers"}
    subjects = [{"kind": "Group", "name": "team", "apiGroup": "rbac.authorization.k8s.io"}]
    binding = {**rbac, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": subjects}
    await client.request("POST", f"{root}/clusterrolebindings", body=binding)
    ann = api.authority.client_pair("ann", *ANN)
    assert (await asked(f"{door}/containerLogs/n/p/c", tmp_path, ann))[0] == 200
    assert (await asked(f"{door}/exec/n/p/c", tmp_path, ann))[0] == 403


def test_a_pair_is_kept_until_the_address_changes(tmp_path: Path) -> None:
    first = serving_pair(tmp_path, "n1", "127.0.0.1", SYSTEM_CLOCK)[0].read_bytes()
    assert serving_pair(tmp_path, "n1", "127.0.0.1", SYSTEM_CLOCK)[0].read_bytes() == first
    assert serving_pair(tmp_path, "n1", "127.0.0.2", SYSTEM_CLOCK)[0].read_bytes() != first
    assert (tmp_path / "node-serving.key").stat().st_mode & 0o77 == 0
