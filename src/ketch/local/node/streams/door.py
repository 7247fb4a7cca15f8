"""Where live connections begin: ``/exec``, ``/attach`` and ``/portForward`` on the node's socket."""

import asyncio
import socket
from functools import partial
from pathlib import Path
from typing import Protocol

from aiohttp import web

from ketch.kube.clock import Clock
from ketch.kube.errors import BadRequest
from ketch.local.node.streams.attachment import Running, attach
from ketch.local.node.streams.channels import accept, asked_protocols, open_socket
from ketch.local.node.streams.commands import Commands
from ketch.local.node.streams.forwarding import CHANNEL_DIALECTS, TUNNEL, Tunnel, forward_channels, parse_ports
from ketch.local.node.streams.options import parse_options
from ketch.local.sandbox.attached import connect


class PodSource(Protocol):
    """Where the pods of this node are."""

    def find_running(self, namespace: str, pod: str, container: str) -> Running:
        """A container that runs; any, when ``container`` is empty. Raises NotFound, BadRequest."""
        ...


class StreamDoor:
    """Answers requests for live connections, each until it ends."""

    def __init__(self, pods: PodSource, keeper: Path, clock: Clock) -> None:
        self._pods = pods
        self._keeper = keeper
        self._clock = clock
        self._commands = Commands(keeper, clock)

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """Run a command in a container."""
        names = request.match_info
        options = parse_options(request.query, request.query.getall("command", ()))
        if not options.command:
            raise BadRequest("you must specify at least one command for the container")
        found = self._pods.find_running(names["namespace"], names["pod"], names["container"])
        channels = await accept(request)
        await self._commands.run(request, channels, found, options)
        return channels.response

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """Join the streams of a container."""
        names = request.match_info
        options = parse_options(request.query)
        found = self._pods.find_running(names["namespace"], names["pod"], names["container"])
        channels = await accept(request)
        await attach(request, channels, found, options, self._clock)
        return channels.response

    async def port_forward(self, request: web.Request) -> web.StreamResponse:
        """Connect to ports of a pod."""
        namespace, pod = request.match_info["namespace"], request.match_info["pod"]
        dial = partial(self._dial, self._pods.find_running(namespace, pod, "").directory)
        if TUNNEL in asked_protocols(request):
            opened = await open_socket(request, TUNNEL)
            await Tunnel(opened, dial, f"{namespace}/{pod}").run()
            return opened
        ports = parse_ports(request.query.getall("ports", ()))
        channels = await accept(request, CHANNEL_DIALECTS)
        await forward_channels(channels, dial, f"{namespace}/{pod}", ports)
        return channels.response

    async def _dial(self, container: Path, port: int) -> socket.socket:
        return await asyncio.to_thread(connect, self._keeper, container, port)
