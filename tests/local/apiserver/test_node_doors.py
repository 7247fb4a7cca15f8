"""Ways to nodes: sockets of this machine only where they may be, others by TLS and the certificate that they tell."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ketch.kube.certificates import self_signed
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.errors import Unavailable
from ketch.kube.transport import MERGE_PATCH, Request
from ketch.local.apiserver.server import APIServer

LOG = "/api/v1/namespaces/default/pods/p/log"
CERTIFICATE = "node.ketch.dev/serving-certificate"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[APIServer]:
    """An API server that knows where sockets of its nodes are."""
    sockets = tmp_path / "run"
    async with APIServer(tmp_path / "kube.db", tmp_path / "pki", node_sockets=sockets) as server:
        yield server


async def a_pod_on(ask: Any, **annotations: str) -> None:
    """A pod whose node says that of itself."""
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1", "annotations": annotations}})
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "x"}], "nodeName": "n1"}}
    await ask("POST", "/api/v1/namespaces/default/pods", pod)


@pytest.mark.parametrize("where", ["elsewhere/node.sock", "run/../elsewhere/node.sock", "run/below/node.sock"])
async def test_a_node_has_no_business_with_other_sockets(ask: Any, tmp_path: Path, where: str) -> None:
    await a_pod_on(ask, **{"node.ketch.dev/socket": str(tmp_path / where)})
    with pytest.raises(Unavailable, match="tells no address"):
        await ask("GET", LOG)


class Remote:
    """A node's door, with the certificate that it serves with."""

    def __init__(self, folder: Path, authority: Path) -> None:
        self.pair = self_signed("system:node:n1", "system:nodes", ("127.0.0.1",), SYSTEM_CLOCK)
        whole = folder / "pair.pem"
        whole.write_bytes(self.pair.certificate + self.pair.key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(whole)
        self.context.load_verify_locations(authority)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.port = 0

    @staticmethod
    async def log(request: web.Request) -> web.StreamResponse:
        """Whoever asks, and for what."""
        assert request.transport is not None
        subject = dict(pair for name in request.transport.get_extra_info("peercert")["subject"] for pair in name)
        return web.Response(text=f"{subject['commonName']} {request.path}")


@pytest.fixture
async def remote(api: APIServer, tmp_path: Path) -> AsyncIterator[Remote]:
    """A node on another machine."""
    found = Remote(tmp_path, api.authority.certificate)
    application = web.Application()
    application.router.add_get("/{rest:.*}", found.log)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=found.context).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


async def test_a_node_elsewhere_is_known_by_what_it_tells(api: APIServer, ask: Any, remote: Remote) -> None:
    await a_pod_on(ask, **{CERTIFICATE: remote.pair.certificate.decode()})
    where = {
        "addresses": [{"type": "Hostname", "address": "nowhere"}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": remote.port}},
    }

    async def change(path: str, body: Any) -> None:
        await api.transport().request(Request("PATCH", f"/api/v1/nodes/n1{path}", {}, body, MERGE_PATCH))

    await change("/status", {"status": where})
    assert await ask("GET", LOG) == "kube-apiserver-kubelet-client /containerLogs/default/p/a"
    other = self_signed("system:node:n1", "system:nodes", ("127.0.0.1",), SYSTEM_CLOCK).certificate.decode()
    for told in (other, None):  # another's; none, and the cluster's authority has not signed it
        await change("", {"metadata": {"annotations": {CERTIFICATE: told}}})
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await ask("GET", LOG)
    await change("", {"metadata": {"annotations": {CERTIFICATE: "no certificate"}}})
    with pytest.raises(Unavailable, match="holds no certificate"):
        await ask("GET", LOG)
