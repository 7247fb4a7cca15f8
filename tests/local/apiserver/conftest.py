"""How the API server's tests ask: raw calls, in process."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from ketch.kube.transport import JSON_TYPE, Request
from ketch.local.apiserver.server import APIServer

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def ask(api: APIServer) -> Ask:
    """``await ask("POST", path, body, content_type=..., **query)``: the decoded answer; failures raise APIError."""
    transport = api.transport()

    async def call(
        method: str, path: str, body: Any = None, content_type: str = JSON_TYPE, query: Mapping[str, str] | None = None
    ) -> Any:
        return await transport.request(Request(method, path, query or {}, body, content_type))

    return call
