"""The way to a node: its own little API, on the socket that its Node object tells."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import orjson

from ketch.kube.errors import Unavailable, error_from_status
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store

SOCKET_ANNOTATION = "node.ketch.dev/socket"


def told_socket(node: Mapping[str, Any]) -> str:
    """Where a Node says that it answers; empty when it does not."""
    annotations: Mapping[str, Any] = node["metadata"].get("annotations") or NOTHING
    return annotations.get(SOCKET_ANNOTATION, "")


def socket_of(store: Store, name: str) -> str:
    """Where the node of that name answers. Raises Unavailable."""
    node = store.get(StoreKey("/nodes", "", name))
    socket = told_socket(node.value) if node is not None else ""
    if not socket:
        raise Unavailable(f"node {name} cannot be reached: it is not there or tells no address")
    return socket


@contextlib.asynccontextmanager
async def node_stream(socket: str, path: str, query: Mapping[str, str]) -> AsyncGenerator[AsyncIterator[bytes]]:
    """What the node answers to a GET, as it comes. Raises APIError."""
    import httpx  # noqa: PLC0415  # deferred: 60 ms of every start, needed by the first log

    # Without TLS there is nothing to verify, and to be ready for it takes 25 ms.
    transport = httpx.AsyncHTTPTransport(uds=socket, verify=False)
    timeout = httpx.Timeout(10.0, read=None)
    async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=timeout) as client:
        try:
            async with client.stream("GET", path, params=dict(query)) as response:
                if response.status_code != 200:
                    body = await response.aread()
                    with contextlib.suppress(orjson.JSONDecodeError):
                        raise error_from_status(orjson.loads(body), response.status_code)
                    raise error_from_status(body.decode(errors="replace"), response.status_code)
                yield response.aiter_raw()
        except httpx.TransportError as error:
            raise Unavailable(f"the node does not answer: {error}") from error


async def node_json(socket: str, path: str) -> Any:
    """The same, as a JSON value. Raises APIError."""
    async with node_stream(socket, path, {}) as chunks:
        return orjson.loads(b"".join([chunk async for chunk in chunks]))
