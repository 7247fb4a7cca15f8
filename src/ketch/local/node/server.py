"""The node's own little API: logs, live connections, what is used, and whether the node is well.

It is on a unix socket; that of a node whose API server is elsewhere also on a port, with TLS for those who may.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from aiohttp import web

from ketch.kube.clock import Clock
from ketch.kube.codec import format_time
from ketch.kube.errors import APIError, BadRequest, NotFound
from ketch.local.node.logs import parse_options, read_log
from ketch.local.node.remote.access import NodeAccess, server_context
from ketch.local.node.remote.joining import Joining
from ketch.local.node.streams.door import PodSource, StreamDoor
from ketch.local.node.usage import ContainerName, Meter

LONGEST_LINE = 1 << 16
"""Bytes of a request's first line, which carries whole commands."""


class LogSource(PodSource, Protocol):
    """Where the containers of this node are."""

    def find_log(self, namespace: str, pod: str, container: str, *, previous: bool) -> tuple[Path, Callable[[], bool]]:
        """The log of a container's latest (or the one before) run, and whether it still runs. Raises APIError."""
        ...

    def processes(self) -> Mapping[ContainerName, int]:
        """The main process of each container that runs."""
        ...


class NodeServer:
    """Serves ``source`` on ``path``; commands are run by the zygote at ``keeper``."""

    def __init__(self, path: Path, source: LogSource, keeper: Path, clock: Clock) -> None:
        self._path = path
        self._streams = StreamDoor(source, keeper, clock)
        self._source = source
        self._meter = Meter(clock)
        self._clock = clock
        self._runner: web.AppRunner | None = None

    async def start(self, joining: Joining | None = None, access: NodeAccess | None = None) -> None:
        """Listen; a socket left by an earlier agent is replaced."""
        application = web.Application(middlewares=[] if access is None else [access.middleware()])
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/usage", self._usage)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", _answered(self._logs))
        application.router.add_get("/exec/{namespace}/{pod}/{container}", _answered(self._streams.exec))
        application.router.add_get("/attach/{namespace}/{pod}/{container}", _answered(self._streams.attach))
        application.router.add_get("/portForward/{namespace}/{pod}", _answered(self._streams.port_forward))
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=1.0, max_line_size=LONGEST_LINE, max_field_size=LONGEST_LINE
        )
        await self._runner.setup()
        fresh = self._path.with_suffix(".new")
        await asyncio.to_thread(fresh.unlink, missing_ok=True)
        await web.UnixSite(self._runner, str(fresh)).start()
        fresh.chmod(0o600)
        await asyncio.to_thread(fresh.rename, self._path)
        if joining is not None:
            context = server_context(joining.certificate, joining.key, joining.client_authority)
            await web.SockSite(self._runner, joining.listener, ssl_context=context).start()

    async def close(self) -> None:
        """Stop serving."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002  # aiohttp's signature
        return web.Response(text="ok")

    async def _usage(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002  # aiohttp's signature
        usage = await self._meter.usage(self._source.processes())
        pods: dict[str, dict[str, dict[str, float]]] = {}
        for name, use in usage.containers.items():
            pods.setdefault(name.pod, {})[name.container] = dataclasses.asdict(use)
        machine = dataclasses.asdict(usage.machine)
        answer = {
            "time": format_time(usage.time.replace(microsecond=0)),
            "window": usage.window,
            "machine": machine,
            "pods": pods,
        }
        return web.json_response(answer)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        names = request.match_info
        query = dict(request.query)
        try:
            options = parse_options(query, self._clock.now())
        except ValueError as error:
            raise BadRequest(str(error)) from error
        previous = query.get("previous", "false") in ("true", "1", "")
        log, running = self._source.find_log(names["namespace"], names["pod"], names["container"], previous=previous)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            async for chunk in read_log(log, options, running, self._clock):
                await response.write(chunk)
        except ConnectionResetError:  # the reader has seen enough
            return response
        await response.write_eof()
        return response


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _answered(handler: Handler) -> Handler:
    """Errors as Status answers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except APIError as error:
            return web.json_response(error.status_body(), status=error.http_code)

    return answer


def no_such_pod(namespace: str, pod: str) -> NotFound:
    """The error for a pod that is not on this node."""
    return NotFound(f'pods "{namespace}/{pod}" not found on this node')
