"""Where live connections begin: ``/exec/...`` on the node's socket."""

from pathlib import Path
from typing import Protocol

from aiohttp import web

from ketch.kube.clock import Clock
from ketch.kube.errors import BadRequest
from ketch.local.node.streams.channels import accept
from ketch.local.node.streams.commands import Commands
from ketch.local.node.streams.options import parse_options


class PodSource(Protocol):
    """Where the pods of this node are."""

    def find_running(self, namespace: str, pod: str, container: str) -> Path:
        """The directory of a container that runs. Raises NotFound, BadRequest."""
        ...


class StreamDoor:
    """Answers requests for live connections, each until it ends."""

    def __init__(self, pods: PodSource, keeper: Path, clock: Clock) -> None:
        self._pods = pods
        self._commands = Commands(keeper, clock)

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """Run a command in a container."""
        names = request.match_info
        options = parse_options(request.query, request.query.getall("command", ()))
        if not options.command:
            raise BadRequest("you must specify at least one command for the container")
        directory = self._pods.find_running(names["namespace"], names["pod"], names["container"])
        channels = await accept(request)
        await self._commands.run(request, channels, directory, options)
        return channels.response
