"""metrics.k8s.io: what the nodes say, as objects."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.local.apiserver.test_access import ANN, grant, rule

from ketch.kube.errors import Forbidden, MethodNotAllowed, NotFound
from ketch.kube.transport import Request
from ketch.local.apiserver.server import APIServer

METRICS, TIME = "/apis/metrics.k8s.io/v1beta1", "2026-01-01T00:00:00Z"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def pods(ask: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """A node that answers, one that does not, and pods on both: their uids by name."""
    folder = tmp_path_factory.mktemp("n")
    uids: dict[str, str] = {}
    use = {"cores": 0.25, "memory": 3 << 20}

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.path == "/usage"
        found = {uids[name]: {"main": use, "helper": {"cores": 0, "memory": 1024}} for name in ("one", "two")}
        return web.json_response(
            {"time": TIME, "window": 15.25, "machine": {"cores": 1.5, "memory": 5 << 20}, "pods": found}
        )

    application = web.Application()
    application.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(folder / "node.sock")).start()
    for name, socket in (("n1", folder / "node.sock"), ("n2", folder / "gone.sock"), ("n3", None)):
        annotations = {} if socket is None else {"node.ketch.dev/socket": str(socket)}
        await ask("POST", "/api/v1/nodes", {"metadata": {"name": name, "annotations": annotations}})
    for name, node in (("one", "n1"), ("two", "n1"), ("new", "n1"), ("lost", "n2"), ("other", "n3"), ("waits", "")):
        spec = {"containers": [{"name": "main", "image": "x"}], **({"nodeName": node} if node else {})}
        made = await ask("POST", PODS, {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
        uids[name] = made["metadata"]["uid"]
    yield uids
    await runner.cleanup()


@pytest.mark.usefixtures("pods")
async def test_pods_of_which_something_is_known(ask: Any):
    found = await ask("GET", f"{METRICS}/pods")
    assert (found["kind"], [each["metadata"]["name"] for each in found["items"]]) == ("PodMetricsList", ["one", "two"])
    found = await ask("GET", f"{METRICS}/namespaces/default/pods", query={"labelSelector": "app=one"})
    assert [each["metadata"]["name"] for each in found["items"]] == ["one"]
    assert (
        await ask("GET", f"{METRICS}/namespaces/default/pods/one")
        == found["items"][0]
        == {
            "kind": "PodMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": "one", "namespace": "default", "labels": {"app": "one"}, "creationTimestamp": TIME},
            "timestamp": TIME,
            "window": "15.250s",
            "containers": [
                {"name": "main", "usage": {"cpu": "250000000n", "memory": "3072Ki"}},
                {"name": "helper", "usage": {"cpu": "0n", "memory": "1Ki"}},
            ],
        }
    )
    for name in ("lost", "new", "waits", "none"):
        with pytest.raises(NotFound, match=f'pods.metrics.k8s.io "{name}" not found'):
            await ask("GET", f"{METRICS}/namespaces/default/pods/{name}")


@pytest.mark.usefixtures("pods")
async def test_nodes_that_answer(ask: Any):
    found = await ask("GET", f"{METRICS}/nodes")
    assert [(each["metadata"]["name"], each["usage"]) for each in found["items"]] == [
        ("n1", {"cpu": "1500000000n", "memory": "5120Ki"})
    ]
    assert (await ask("GET", f"{METRICS}/nodes/n1"))["kind"] == "NodeMetrics"
    with pytest.raises(NotFound):
        await ask("GET", f"{METRICS}/nodes/n2")


@pytest.mark.usefixtures("pods")
async def test_use_can_only_be_read_and_only_by_those_who_may(ask: Any, api: APIServer):
    for method in ("POST", "DELETE", "PUT"):
        with pytest.raises(MethodNotAllowed):
            await ask(method, f"{METRICS}/namespaces/default/pods/one", {})
    await grant(ask, [rule("get", "pods", "metrics.k8s.io")], {"kind": "User", "name": ANN.name}, "default")
    transport = api.transport(ANN)
    assert await transport.request(Request("GET", f"{METRICS}/namespaces/default/pods/one"))
    for path in (f"{METRICS}/nodes", f"{METRICS}/namespaces/default/pods"):
        with pytest.raises(Forbidden):
            await transport.request(Request("GET", path))


async def test_it_is_described(ask: Any):
    listed = await ask("GET", METRICS)
    assert [(each["name"], each["kind"], each["verbs"]) for each in listed["resources"]] == [
        ("nodes", "NodeMetrics", ["get", "list"]),
        ("pods", "PodMetrics", ["get", "list"]),
    ]
    document = await ask("GET", "/openapi/v3/apis/metrics.k8s.io/v1beta1")
    assert "io.k8s.metrics.v1beta1.PodMetrics" in document["components"]["schemas"]
