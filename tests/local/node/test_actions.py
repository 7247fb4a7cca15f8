"""Probes as a server sees them, and hooks that there are not."""

import asyncio
import socket

import pytest

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.types.containers import Container, HTTPGetAction, LifecycleHandler, TCPSocketAction
from ketch.local.apiserver.auth.pki import Authority
from ketch.local.node.actions import ActionFailed, Actions, _get


@pytest.fixture
async def server(tmp_path):
    """A TLS server that counts what it is asked for: its port, the names asked for, the requests' first lines."""
    context = Authority(tmp_path, SYSTEM_CLOCK).server_context()
    names, lines = [], []
    context.sni_callback = lambda connection, name, context: names.append(name)

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines.extend(head.decode().split("\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1], names, lines


async def test_a_probe_over_tls_asks_an_address_for_no_name(server):
    port, names, lines = server
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setblocking(False)
    action = HTTPGetAction(port=port, scheme="HTTPS", path="/healthz")
    assert await _get(connection, action, f"127.0.0.1:{port}") == 204
    assert names == [None]
    assert lines[0] == "GET /healthz HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines


async def test_a_hook_that_only_connects_is_none():
    handler = LifecycleHandler(tcp_socket=TCPSocketAction(port=1))
    with pytest.raises(ActionFailed, match="invalid handler"):
        await Actions(None, None, SYSTEM_CLOCK).hook(handler, Container(name="main"), None, "127.0.0.1")
