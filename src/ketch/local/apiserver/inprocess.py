"""The in-process door: calls without bytes, for the controllers that live with the server."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from ketch.kube.errors import BadRequest, TransportError
from ketch.kube.transport import JSON_TYPE, Request
from ketch.local.apiserver.answers import ConnectAnswer, RelayAnswer, StreamAnswer, TextAnswer, WatchAnswer
from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.apiserver.requests import Call
from ketch.local.apiserver.router import Router
from ketch.local.apiserver.verbs.watching import EventStream


class LocalTransport:
    """A ``ketch.kube.transport.Transport`` for one user. What it returns is the store's own and must not be changed."""

    def __init__(self, router: Router, user: UserInfo) -> None:
        self._router = router
        self._user = user
        self._closed = False
        self._open: set[EventStream] = set()

    def _call(self, request: Request) -> Call:
        if self._closed or self._router.closed:
            raise TransportError("the connection to the API server is closed")
        return Call(
            self._user, request.method, request.path, request.query, request.body, request.content_type or JSON_TYPE
        )

    async def request(self, request: Request) -> Any:
        """The answer as JSON, or text."""
        answer = await self._router.handle(self._call(request))
        if isinstance(answer, TextAnswer):
            if answer.content_type == JSON_TYPE:
                return orjson.loads(answer.text)
            return answer.text if isinstance(answer.text, str) else answer.text.decode()
        if isinstance(answer, StreamAnswer):
            async with answer.chunks as chunks:
                return b"".join([chunk async for chunk in chunks]).decode(errors="replace")
        if isinstance(answer, WatchAnswer):
            raise BadRequest("a watch must be opened as one")
        if isinstance(answer, ConnectAnswer):
            raise BadRequest("Upgrade request required")
        if isinstance(answer, RelayAnswer):
            raise BadRequest("what others answer is asked for over the network")
        return answer.json()

    @asynccontextmanager
    async def watch(self, request: Request) -> AsyncGenerator[AsyncIterator[dict[str, Any]]]:
        """Raw events as they are committed."""
        query = {**request.query, "watch": "true"}
        answer = await self._router.handle(self._call(Request(request.method, request.path, query)))
        if not isinstance(answer, WatchAnswer):
            raise BadRequest("this path cannot be watched")
        async with answer.events as stream:
            self._open.add(stream)
            try:
                yield _raw(stream)
            finally:
                self._open.discard(stream)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Bytes as they come."""
        answer = await self._router.handle(self._call(request))
        if not isinstance(answer, StreamAnswer):
            raise BadRequest("this path is no stream")
        async with answer.chunks as chunks:
            yield chunks

    async def close(self) -> None:
        """End open watches; later calls raise TransportError."""
        self._closed = True
        for stream in self._open:
            stream.stop()


async def _raw(stream: EventStream) -> AsyncIterator[dict[str, Any]]:
    async for batch in stream:
        for event in batch:
            yield {"type": event.type, "object": event.value}
