"""HTTP around the handlers: routes, bodies, errors in grpc-gateway's form, and who may call.

The server is for programs of this machine and sits behind the gateway. As a second line it checks for itself that a
request was meant for a local name and that no page of another origin made it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ketch.pipelines.api.wire import Message, decode, encode
from ketch.pipelines.errors import InvalidInput, PermissionDenied, RequestError

M = TypeVar("M", bound=Message)
Endpoint = Callable[[Request], Awaitable[Message]]

MAX_BODY: Final = 32 * 1024 * 1024
_HTTP_OF_GRPC: Final[Mapping[int, HTTPStatus]] = {
    3: HTTPStatus.BAD_REQUEST,
    5: HTTPStatus.NOT_FOUND,
    6: HTTPStatus.CONFLICT,
    7: HTTPStatus.FORBIDDEN,
    9: HTTPStatus.BAD_REQUEST,
    12: HTTPStatus.NOT_IMPLEMENTED,
    13: HTTPStatus.INTERNAL_SERVER_ERROR,
    14: HTTPStatus.SERVICE_UNAVAILABLE,
}
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def http_status(error: RequestError) -> HTTPStatus:
    """The HTTP status of a gRPC code."""
    return _HTTP_OF_GRPC[error.code]


def error_response(code: int, message: str, status: HTTPStatus) -> Response:
    """An error as KFP's clients know it."""
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}
    return json_response({"code": code, "message": message, "details": [detail]}, status)


def json_response(body: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """``body`` as JSON."""
    return Response(orjson.dumps(body), status, media_type="application/json")


async def on_request_error(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer a RequestError."""
    assert isinstance(error, RequestError)  # Starlette looks handlers up by type
    return error_response(error.code, error.message, http_status(error))


async def on_http_exception(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer what the router refuses: a path nobody knows, or a method that a path does not have."""
    assert isinstance(error, HTTPException)  # Starlette looks handlers up by type
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return error_response(12, "Method Not Allowed", HTTPStatus.NOT_IMPLEMENTED)
    return error_response(5, "Not Found", HTTPStatus.NOT_FOUND)


async def on_internal_error(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer a defect of the server; its story is in the log, not on the wire."""
    return error_response(13, "Internal error; the control plane's log has the details", HTTPStatus(500))


def route(method: str, path: str, endpoint: Endpoint) -> BaseRoute:
    """``endpoint``'s message as JSON at ``path``."""

    async def handle(request: Request) -> Response:
        return Response(encode(await endpoint(request)), media_type="application/json")

    return Route(path, handle, methods=[method])


async def read_body(request: Request) -> bytes:
    """The whole body. Raises InvalidInput when it is larger than anything a client has to say."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise InvalidInput(f"the request body is larger than {MAX_BODY // 2**20} MiB")
        parts.append(part)
    return b"".join(parts)


async def read_message(request: Request, kind: type[M]) -> M:
    """The body as a message. Raises InvalidInput."""
    body = await read_body(request)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the request body is not valid JSON: {error}") from error
    return decode(kind, value)


class LocalOnly:
    """ASGI middleware: refuses requests that were not meant for this machine or that another origin's page made."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._names = _LOCAL_NAMES | frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and (refusal := self._refusal(dict(scope["headers"]))):
            error = PermissionDenied(refusal)
            await error_response(error.code, error.message, http_status(error))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Mapping[bytes, bytes]) -> str:
        host = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if not self._local(host):
            return f"host {host!r} is not a name of this machine"
        origin = headers.get(b"origin")
        if origin is None:
            return ""
        source = _host_name(origin.decode("latin-1").partition("://")[2])
        if source == host or source in self._names:
            return ""
        return "pages of another origin may not use this API"

    def _local(self, host: str) -> bool:
        return host in self._names or host.endswith(".localhost")


def _host_name(authority: str) -> str:
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""
