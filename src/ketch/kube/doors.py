"""Paths that a domain answers itself beside the API server's own: what an aggregated API server would do.

A door is asked before anyone is authenticated: who may come in is the door's to decide. The embedded API server asks
in-process; on a cluster the same class stands behind a server of its own.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, Protocol

import orjson

from ketch.kube.errors import APIError, NotFound, TooLarge

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
"""A program of ASGI, which servers of HTTP run."""

LONGEST_BODY: Final = 1 << 20


class Door(Protocol):
    """Answers some paths."""

    def opens(self, method: str, path: str) -> bool:
        """Whether a request is this door's. Pure, and quick: every request is asked."""
        ...

    async def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        """The answer as JSON; header names are in small letters. Raises APIError."""
        ...


def application(doors: Sequence[Door]) -> Application:
    """What a server of HTTP runs to stand before ``doors``, where no embedded API server does."""

    async def answered(scope: Message, receive: Receive) -> Any:
        method, path = str(scope["method"]), str(scope["path"])
        door = next((each for each in doors if each.opens(method, path)), None)
        if door is None:
            raise NotFound("the server could not find the requested resource")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        return await door.answer(path, headers, await _whole(receive))

    async def respond(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            code, body = 200, await answered(scope, receive)
        except APIError as error:
            code, body = error.http_code, error.status_body()
        raw = orjson.dumps(body)
        told = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
        await send({"type": "http.response.start", "status": code, "headers": told})
        await send({"type": "http.response.body", "body": raw})

    return respond


async def _whole(receive: Receive) -> bytes:
    """A request's body. Raises TooLarge."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LONGEST_BODY:
            raise TooLarge(f"the body of the request has more than {LONGEST_BODY} bytes")
        if not message.get("more_body"):
            return bytes(body)
