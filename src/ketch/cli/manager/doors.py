"""Where a replica answers: webhooks and the status endpoint with TLS; health and metrics without."""

import ssl
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from ketch.kube.certificates import ServingPair
from ketch.kube.errors import APIError, BadRequest, NotFound, TransportError, Unavailable
from ketch.kube.metrics import CONTENT_TYPE
from ketch.kube.webhooks.reviews import MUTATE, VALIDATE, Reviewer

if TYPE_CHECKING:
    from ketch.kube.doors import Door
    from ketch.kube.manager import Manager

LARGEST_BODY = 4 << 20
"""Bytes of a review: two objects of the greatest size, and what is around them."""


class Duties:
    """What a replica does at the moment; ``manager`` and ``door`` are there while it leads."""

    def __init__(self) -> None:
        self.manager: Manager | None = None
        self.door: Door | None = None
        self.serving = False

    def obstacles(self) -> Mapping[str, str]:
        """Why the replica is not ready; empty when it is."""
        if self.manager is None:
            return {"leader election": "another replica leads, or none yet"}
        return self.manager.health() or ({} if self.serving else {"pipelines": "not served yet"})


def context_of(pair: ServingPair) -> ssl.SSLContext:
    """TLS with the pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # the standard library reads keys from files alone
        both = Path(folder) / "pair.pem"
        both.touch(0o600)
        both.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(both)
    return context


def secure_application(reviewer: Reviewer, duties: Duties) -> web.Application:
    """Webhooks, and the door of whoever leads."""

    async def review(request: web.Request) -> web.StreamResponse:
        try:
            body: Any = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"no JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadRequest("expected an object")
        review: dict[str, Any] = body  # pyright: ignore[reportUnknownVariableType]  # JSON from outside
        return _json(await reviewer.answer(request.path, review))

    async def other(request: web.Request) -> web.StreamResponse:
        door = duties.door
        if door is None:
            raise Unavailable("this replica does not lead")
        if not door.opens(request.method, request.path):
            raise NotFound("the server could not find the requested resource")
        headers = {name.lower(): value for name, value in request.headers.items()}
        return _json(await door.answer(request.path, headers, await request.read()))

    application = web.Application(middlewares=[_answered], client_max_size=LARGEST_BODY)
    application.router.add_post(MUTATE, review)
    application.router.add_post(VALIDATE, review)
    application.router.add_route("*", "/{rest:.*}", other)
    return application


@web.middleware
async def _answered(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Errors as Status answers."""
    try:
        return await handler(request)
    except APIError as error:
        return web.json_response(error.status_body(), status=error.http_code)
    except TransportError as error:
        failure = Unavailable(str(error))
        return web.json_response(failure.status_body(), status=failure.http_code)


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def health_application(duties: Duties) -> web.Application:
    """What a kubelet and Prometheus ask."""

    async def healthz(_: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.StreamResponse:
        obstacles = duties.obstacles()
        if not obstacles:
            return web.Response(text="ok")
        return web.Response(text="".join(f"{part}: {why}\n" for part, why in obstacles.items()), status=503)

    async def metrics(_: web.Request) -> web.StreamResponse:
        text = "" if duties.manager is None else duties.manager.metrics.text()
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application


@asynccontextmanager
async def listening(
    application: web.Application, bind: str, port: int, context: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    """Serve an application; the port that it has. Raises OSError."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, bind, port, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
