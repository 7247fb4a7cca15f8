"""HTTP around the handlers: routes, bodies, errors in grpc-gateway's form, and who may call.

The server is for programs of this machine and sits behind the gateway. As a second line it checks for itself that a
request was meant for a local name and that no page of another origin made it.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ketch.pipelines.api.wire import Message, decode, encode
from ketch.pipelines.errors import InvalidInput, PermissionDenied, RequestError

M = TypeVar("M", bound=Message)
Endpoint = Callable[..., Awaitable[Message]]
"""A service's method: takes the request, the body as a message, both or neither; answers a message."""

Handler = Callable[[Request], Awaitable[Response]]

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
        answer = error_response(12, "Method Not Allowed", HTTPStatus.METHOD_NOT_ALLOWED)
        answer.headers.update(error.headers or {})  # those that are allowed
        return answer
    return error_response(5, "Not Found", HTTPStatus.NOT_FOUND)


async def on_full_disk(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer a change that had no room."""
    return error_response(8, str(error), HTTPStatus.INSUFFICIENT_STORAGE)


async def on_internal_error(request: Request, error: Exception) -> Response:  # noqa: ARG001  # Starlette's signature
    """Answer a defect of the server; its story is in the log, not on the wire."""
    return error_response(13, "Internal error; the control plane's log has the details", HTTPStatus(500))


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter: its type as in a message's annotation, and whether it may come more than once."""

    name: str
    help: str = ""
    kind: Any = str
    repeated: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """What an operation takes and answers: the one declaration from which its documentation is made.

    ``form`` is the field of a multipart form that carries a file; ``media`` is what the answer is, where it is no
    message.
    """

    operation_id: str
    query: tuple[Query, ...] = ()
    body: type[Message] | None = None
    answer: type[Message] | None = None
    form: str = ""
    media: str = "application/json"


class Operation(Route):
    """A route that tells what it takes and answers."""

    def __init__(self, method: str, path: str, handler: Handler, declared: Declared) -> None:
        super().__init__(path, handler, methods=[method])
        self.method, self.declared = method, declared


def operation_id(endpoint: Callable[..., Any]) -> str:
    """``RunService_create`` for that service's ``_create``."""
    service, name = endpoint.__qualname__.split(".")[-2:]
    return f"{service}_{name.lstrip('_')}"


def route(method: str, path: str, endpoint: Endpoint, query: Sequence[Query] = ()) -> Operation:
    """``endpoint`` at ``path``: it is given the request or the body, as its parameters are annotated."""
    signature = inspect.signature(endpoint)
    kinds: list[type[Any]] = [parameter.annotation for parameter in signature.parameters.values()]
    body = next((kind for kind in kinds if issubclass(kind, Message)), None)
    declared = Declared(operation_id(endpoint), tuple(query), body, signature.return_annotation)

    async def handle(request: Request) -> Response:
        arguments = [request if kind is Request else await read_message(request, kind) for kind in kinds]
        return Response(encode(await endpoint(*arguments)), media_type="application/json")

    return Operation(method, path, handle, declared)


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
