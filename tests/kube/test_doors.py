"""Doors behind a server of HTTP, where no embedded API server opens them."""

import io
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
import uvicorn

from ketch.kube.doors import LONGEST_BODY, application
from ketch.kube.errors import Forbidden

PATH = "/apis/test.ketch.dev/v1/things/one/status"


class Counts:
    """Opens for POST, tells whose body it was and how long."""

    def opens(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/status")

    async def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        if "authorization" not in headers:
            raise Forbidden("who are you?")
        return {"path": path, "bytes": len(body), "who": headers["authorization"]}


@pytest.fixture
async def address() -> AsyncIterator[str]:
    configuration = uvicorn.Config(application([Counts()]), lifespan="off", log_config=None, ws="none")
    configuration.load()
    server = uvicorn.Server(configuration)
    server.lifespan = configuration.lifespan_class(configuration)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.startup(sockets=[listening])
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        await server.shutdown(sockets=[listening])


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "code", "words"),
    [
        ("POST", PATH, {"Authorization": "me"}, b"12345", 200, {"path": PATH, "bytes": 5, "who": "me"}),
        ("POST", PATH, {}, b"", 403, {"kind": "Status", "reason": "Forbidden", "message": "who are you?"}),
        ("GET", PATH, {}, b"", 404, {"kind": "Status", "reason": "NotFound"}),
        ("POST", "/healthz", {}, b"", 404, {"kind": "Status", "reason": "NotFound"}),
        ("POST", PATH, {"Authorization": "me"}, b"x" * (LONGEST_BODY + 1), 413, {"kind": "Status", "code": 413}),
    ],
    ids=["answered", "refused by the door", "another method", "another path", "too much"],
)
async def test_what_a_door_says_is_the_answer(
    address: str, method: str, path: str, headers: Mapping[str, str], body: bytes, code: int, words: Mapping[str, Any]
):
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, address + path, data=io.BytesIO(body), headers=headers) as response,
    ):
        answer = await response.json()
        assert response.status == code
        assert words.items() <= answer.items()
