"""Live connections (exec, attach, port-forward): who may have them, and how bytes reach the node and come back."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.local.apiserver.test_access import ANN, grant, rule
from tests.waiting import eventually

from ketch.kube.config import load_config
from ketch.kube.credentials import Identity, client_context
from ketch.kube.errors import BadRequest, Forbidden, MethodNotAllowed
from ketch.kube.transport import Request
from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.apiserver.http.frames import Frames
from ketch.local.apiserver.server import APIServer

POD = "/api/v1/namespaces/default/pods/p"
V4 = "v4.channel.k8s.io"
Connect = Callable[..., AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]]


class PlayedNode:
    """A node's side: tells what was asked, then echoes; ``held`` keeps it from reading."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = 0
        self.held = asyncio.Event()
        self.held.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if "refused" in request.path:
            return web.json_response({"kind": "Status", "message": "not today", "code": 409}, status=409)
        socket = web.WebSocketResponse(protocols=[V4], max_msg_size=0)
        await socket.prepare(request)
        await socket.send_str("first")
        self.open += 1
        try:
            await self.held.wait()
            async for message in socket:
                if message.data == b"end":
                    break
                await socket.send_bytes(message.data)
        finally:
            self.open -= 1
        return socket


@pytest.fixture
async def node(ask: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlayedNode]:
    """A node with a pod ``p``."""
    played = PlayedNode()
    application = web.Application()
    application.router.add_get("/{anything:.*}", played.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    path = tmp_path_factory.mktemp("n") / "node.sock"
    await web.UnixSite(runner, str(path)).start()
    await ask(
        "POST", "/api/v1/nodes", {"metadata": {"name": "n1", "annotations": {"node.ketch.dev/socket": str(path)}}}
    )
    containers = [{"name": name, "image": "x"} for name in ("one", "refused")]
    meta = {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "one"}}
    await ask("POST", POD.removesuffix("/p"), {"metadata": meta, "spec": {"containers": containers, "nodeName": "n1"}})
    yield played
    await runner.cleanup()


@pytest.fixture
async def connect(served: Any) -> AsyncIterator[Connect]:
    """Begins live connections over TLS."""
    context = client_context(load_config(served.kubeconfig), Identity())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield lambda path, **options: session.ws_connect(
            served.server + path, max_msg_size=0, protocols=[V4, "v5.channel.k8s.io"], **options
        )


async def test_bytes_go_both_ways_to_the_container_that_is_meant(node: PlayedNode, connect: Connect):
    async with connect(f"{POD}/exec?command=a%20b&command=c&container=one") as socket:
        assert socket.protocol == V4
        assert await socket.receive_str() == "first"
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
            await socket.send_bytes(bytes(size))
            assert len(await socket.receive_bytes()) == size
        await socket.send_bytes(b"end")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    async with connect(f"{POD}/attach?stdin=1"), connect(f"{POD}/portforward?ports=1"):
        pass
    assert node.asked == [
        "/exec/default/p/one?command=a%20b&command=c&container=one",
        "/attach/default/p/one?stdin=1",
        "/portForward/default/p?ports=1",
    ]


async def test_a_client_that_goes_is_gone_for_the_node(node: PlayedNode, connect: Connect):
    async with connect(f"{POD}/exec?command=a"):
        await eventually(lambda: node.open == 1)
    await eventually(lambda: node.open == 0)


async def test_who_sends_faster_than_the_node_reads_is_held_back(node: PlayedNode, connect: Connect):
    node.held.clear()
    async with connect(f"{POD}/exec?command=a") as socket:
        sent = itertools.count()
        blocks = 200

        async def send() -> None:
            for _ in range(blocks):
                await socket.send_bytes(bytes(1 << 18))
                next(sent)

        async def receive() -> int:
            assert await socket.receive_str() == "first"
            return sum([len(await socket.receive_bytes()) for _ in range(blocks)])

        sending = asyncio.create_task(send())
        await asyncio.wait({sending}, timeout=0.5)
        assert not sending.done()
        node.held.set()
        assert await receive() == blocks << 18
        await sending


async def test_what_the_node_refuses_is_told(node: PlayedNode, connect: Connect, served: Any):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with connect(f"{POD}/exec?command=a&container=refused"):
            pass
    assert caught.value.status == 409


async def test_a_control_plane_that_stops_ends_its_connections(node: PlayedNode, connect: Connect, api: APIServer):
    async with connect(f"{POD}/exec?command=a") as socket:
        assert await socket.receive_str() == "first"
        await api.close()
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    await eventually(lambda: node.open == 0)


async def test_a_node_that_is_not_there(ask: Any, connect: Connect, tmp_path: Path, node: PlayedNode):
    annotations = {"node.ketch.dev/socket": str(tmp_path / "gone.sock")}
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n2", "annotations": annotations}})
    pod = {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "a", "image": "x"}], "nodeName": "n2"}}
    await ask("POST", POD.removesuffix("/p"), pod)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with connect(f"{POD[:-1]}q/exec?command=a"):
            pass
    assert caught.value.status == 503


async def test_a_request_without_a_handshake_is_none(node: PlayedNode, ask: Any, served: Any):
    for method in ("GET", "POST"):
        with pytest.raises(BadRequest, match="Upgrade request required"):
            await ask(method, f"{POD}/exec", query={"command": "a"})
    with pytest.raises(MethodNotAllowed):
        await ask("DELETE", f"{POD}/exec")
    context = client_context(load_config(served.kubeconfig), Identity())
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.post(f"{served.server}{POD}/exec?command=a") as answer,
    ):
        assert (answer.status, (await answer.json())["message"]) == (400, "Upgrade request required")
    assert node.asked == []


@pytest.mark.parametrize(("verbs", "allowed"), [("get", []), ("create", ["POST"]), ("get create", ["GET", "POST"])])
async def test_a_get_is_no_way_around_the_right_to_create(
    node: PlayedNode, ask: Any, api: APIServer, verbs: str, allowed: list[str]
):
    await grant(ask, [rule(verbs, "pods/exec")], {"kind": "User", "name": ANN.name}, "default")
    for method in ("GET", "POST"):
        error = BadRequest if method in allowed else Forbidden
        with pytest.raises(error):
            await _as(api, ANN, Request(method, f"{POD}/exec", {"command": "a"}))


async def _as(api: APIServer, user: UserInfo, request: Request) -> Any:
    return await api.transport(user).request(request)


def test_frames_are_cut_wherever_the_bytes_were():
    bodies = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 70_000, b"e"]
    heads = [
        b"\x82\x00",
        b"\x82\x01",
        b"\x82\x7d",
        b"\x82\x7e\x00\x7e",
        b"\x82\x7f" + (70_000).to_bytes(8, "big"),
        b"\x81\x01",
    ]
    whole = [head + body for head, body in zip(heads, bodies, strict=True)]
    stream = b"".join(whole)
    for step in (1, 2, 3, 7, 1000, len(stream)):
        frames = Frames()
        pieces = [piece for at in range(0, len(stream), step) for piece in frames.cut(stream[at : at + step])]
        assert b"".join(pieces) == stream
        ends = {sum(map(len, whole[: count + 1])) for count in range(len(whole))}
        assert ends <= set(itertools.accumulate(map(len, pieces)))
