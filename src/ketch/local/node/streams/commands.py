"""A client at the streams of a command in a container (exec), until both are done with each other.

A client that goes leaves its command what it sent, then the end of its input (a terminal hangs up), and ``GRACE``
seconds to end by itself; then the command's whole session is killed. Only what made itself independent of the command
(a session of its own) goes on, no longer than the container.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from ketch.kube.clock import Clock
from ketch.local.node.streams.attachment import Running
from ketch.local.node.streams.channels import STDERR, STDIN, STDOUT, Channels
from ketch.local.node.streams.conversations import GRACE, Streams, converse, drain
from ketch.local.node.streams.descriptors import Sink, Source
from ketch.local.node.streams.hangup import hung_up
from ketch.local.node.streams.options import StreamOptions
from ketch.local.processes import session_members
from ketch.local.sandbox.attached import AttachedCommand
from ketch.local.sandbox.errors import SandboxError, SandboxUnavailable, StartError

KEEPER_TRIES, KEEPER_PAUSE = 40, 0.1
TERMINAL: Mapping[str, str] = {"TERM": "xterm"}
"""What a command on a terminal finds in its environment besides the container's."""


class Commands:
    """Runs commands in the containers that one keeper zygote has started."""

    def __init__(self, keeper: Path, clock: Clock, grace: float = GRACE) -> None:
        self._keeper = keeper
        self._clock = clock
        self._grace = grace

    async def run(self, request: web.Request, channels: Channels, container: Running, options: StreamOptions) -> None:
        """Run a command in the container, for the client of ``request``."""
        try:
            command, streams = await self._begin(container.directory, options)
        except StartError as error:
            text = f"{error}\r\n" if options.tty else f"{error}\n"
            await channels.send(STDERR if options.stderr else STDOUT, text.encode())
            await channels.tell_end(error.exit_code)
            return
        except SandboxError as error:
            await channels.tell_failure(f"error executing command in container: {error}")
            return
        try:
            if (confine := container.confine) is not None:
                await asyncio.to_thread(lambda: confine(session_members(command.pid)))
            await self._attend(request, channels, command, streams)
        finally:
            streams.close()
            command.close()

    async def _attend(
        self, request: web.Request, channels: Channels, command: AttachedCommand, streams: Streams
    ) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def told() -> None:
            loop.remove_reader(command.fileno())
            ended.set_result(None)

        loop.add_reader(command.fileno(), told)
        try:
            with hung_up(request) as hangup:
                if not await converse(channels, streams, ended, hangup, self._grace):
                    await self._leave(command, streams, ended)
                    return
            await channels.tell_end(command.code())
        except SandboxUnavailable as error:
            await channels.tell_failure(f"error executing command in container: {error}")
        finally:
            loop.remove_reader(command.fileno())

    async def _leave(self, command: AttachedCommand, streams: Streams, ended: asyncio.Future[None]) -> None:
        """The client is gone."""
        streams.close_input()
        if streams.terminal is not None:
            streams.close()
        draining = asyncio.create_task(drain(streams))
        await asyncio.wait({ended}, timeout=self._grace)
        if not ended.done():
            await asyncio.to_thread(command.end)
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)

    async def _begin(self, container: Path, options: StreamOptions) -> tuple[AttachedCommand, Streams]:
        """Start, and wait for a keeper that is being restarted."""
        begin = _on_terminal if options.tty else _on_pipes
        tries = KEEPER_TRIES
        while True:
            try:
                command, ours = await asyncio.to_thread(begin, self._keeper, container, options)
            except SandboxUnavailable:
                tries -= 1
                if not tries:
                    raise
                await self._clock.sleep(KEEPER_PAUSE)
            else:
                return command, _streams(command, ours, options)


def _on_terminal(keeper: Path, container: Path, options: StreamOptions) -> tuple[AttachedCommand, dict[int, int]]:
    return AttachedCommand.start(keeper, container, options.command, (), terminal=True, env=TERMINAL), {}


def _on_pipes(keeper: Path, container: Path, options: StreamOptions) -> tuple[AttachedCommand, dict[int, int]]:
    """The command, and the platform's ends of the pipes that were asked for; the other streams are nowhere."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    theirs = [null] * 3
    ours: dict[int, int] = {}
    for stream, wanted in ((STDIN, options.stdin), (STDOUT, options.stdout), (STDERR, options.stderr)):
        if wanted:
            read, write = os.pipe()
            ours[stream], theirs[stream] = (write, read) if stream == STDIN else (read, write)
    try:
        return AttachedCommand.start(keeper, container, options.command, theirs, terminal=False), ours
    except SandboxError:
        for number in ours.values():
            os.close(number)
        raise
    finally:
        for number in {null, *theirs}:
            os.close(number)


def _streams(command: AttachedCommand, ours: Mapping[int, int], options: StreamOptions) -> Streams:
    terminal = command.terminal
    if terminal is None:
        sources = {stream: Source(number) for stream, number in ours.items() if stream != STDIN}
        return Streams(Sink(ours[STDIN]) if STDIN in ours else None, sources)
    sink = Sink(os.dup(terminal)) if options.stdin else None
    return Streams(sink, {STDOUT: Source(terminal)}, terminal)
