"""Pod logs come from the node, as they are written."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ketch.kube.config import load_config
from ketch.kube.credentials import Identity, client_context
from ketch.kube.errors import BadRequest, NotFound, Unavailable
from ketch.kube.transport import Request
from ketch.local.apiserver.server import APIServer

LOG = "/api/v1/namespaces/default/pods/p/log"


@pytest.fixture
async def node(ask: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Any]]:
    """A node's side: answers with the request line, then with what the test lets through."""
    path = tmp_path_factory.mktemp("n") / "node.sock"
    seen: dict[str, Any] = {"more": asyncio.Event()}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        await reader.readuntil(b"\r\n\r\n")
        if "/missing?" in line or "missing " in line:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno logs")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            first = line.split()[1].encode()
            writer.write(b"%x\r\n%b\r\n" % (len(first), first))
            if "limitBytes=1" in line:
                writer.close()  # as a node that is killed
                return
            if "follow=true" in line:
                await seen["more"].wait()
                writer.write(b"4\r\nmore\r\n")
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    body = {"metadata": {"name": "n1", "annotations": {"node.ketch.dev/socket": str(path)}}}
    await ask("POST", "/api/v1/nodes", body)
    containers = [{"name": "one", "image": "x"}, {"name": "missing", "image": "x"}]
    pod = {"metadata": {"name": "p"}, "spec": {"containers": containers, "nodeName": "n1"}}
    await ask("POST", "/api/v1/namespaces/default/pods", pod)
    yield seen
    server.close()


@pytest.mark.usefixtures("node")
async def test_parameters_reach_the_node(ask: Any) -> None:
    text = await ask("GET", LOG, query={"container": "one", "tailLines": "5", "timestamps": "true"})
    assert text == "/containerLogs/default/p/one?tailLines=5&timestamps=true"


async def test_a_followed_log_comes_in_pieces(api: APIServer, node: dict[str, Any]) -> None:
    request = Request("GET", LOG, {"container": "one", "follow": "true"})
    async with asyncio.timeout(10), api.transport().stream(request) as chunks:
        assert await anext(chunks) == b"/containerLogs/default/p/one?follow=true"
        node["more"].set()
        assert await anext(chunks) == b"more"
        assert await anext(chunks, None) is None


@pytest.mark.usefixtures("node")
async def test_what_has_no_log(ask: Any) -> None:
    with pytest.raises(BadRequest, match=r"choose one of: \[one missing\]"):
        await ask("GET", LOG)
    with pytest.raises(BadRequest, match="container none is not valid"):
        await ask("GET", LOG, query={"container": "none"})
    with pytest.raises(NotFound, match="no logs"):
        await ask("GET", LOG, query={"container": "missing"})
    with pytest.raises(NotFound):
        await ask("GET", LOG.replace("/p/", "/q/"), query={"container": "one"})


async def test_a_node_that_is_not_there(ask: Any, tmp_path: Path) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "x"}], "nodeName": "n2"}}
    await ask("POST", "/api/v1/namespaces/default/pods", pod)
    with pytest.raises(Unavailable, match="node n2 cannot be reached"):
        await ask("GET", LOG)
    annotations = {"node.ketch.dev/socket": str(tmp_path / "gone.sock")}
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n2", "annotations": annotations}})
    with pytest.raises(Unavailable, match="the node does not answer"):
        await ask("GET", LOG)


@pytest.mark.usefixtures("node")
async def test_a_log_that_breaks_off_does_not_look_whole(served: Any) -> None:
    context = client_context(load_config(served.kubeconfig), Identity())
    reader, writer = await asyncio.open_unix_connection(served.unix_socket, ssl=context, server_hostname="localhost")
    writer.write(f"GET {LOG}?container=one&limitBytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"/containerLogs/default/p/one" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1
