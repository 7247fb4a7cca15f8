"""A client at the streams of a running container (attach).

A container with a stdin or a terminal is joined to its clients by its keeper, byte by byte. What others write is found
in their log, line by line. A client that goes takes nothing along.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ketch.kube.clock import Clock
from ketch.local.node.logs import follow_streams
from ketch.local.node.streams.channels import STDERR, STDIN, STDOUT, Channels
from ketch.local.node.streams.conversations import Streams, converse
from ketch.local.node.streams.descriptors import Sink, Source
from ketch.local.node.streams.hangup import hung_up
from ketch.local.node.streams.options import StreamOptions
from ketch.local.sandbox.attached import Attachment
from ketch.local.sandbox.errors import SandboxError

NAMES = {STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr"}


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs, as far as clients need to know it."""

    directory: Path
    log: Path
    running: Callable[[], bool]
    confine: Callable[[Iterable[int]], None] | None
    """Puts processes that were begun in it under its limits; None when it has none."""
    stdin: bool
    tty: bool


async def attach(
    request: web.Request, channels: Channels, container: Running, options: StreamOptions, clock: Clock
) -> None:
    """Join the client of ``request`` to the container until one of them ends."""
    if not (container.stdin or container.tty):
        await _follow(channels, container, options, clock)
        return
    try:
        attachment, ours = await asyncio.to_thread(_join, container, options)
    except SandboxError as error:
        await channels.tell_failure(f"error attaching to container: {error}")
        return
    streams = _streams(attachment, ours)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def told() -> None:
        loop.remove_reader(attachment.fileno())
        ended.set_result(None)

    loop.add_reader(attachment.fileno(), told)
    try:
        with hung_up(request) as hangup:
            if await converse(channels, streams, ended, hangup):
                await channels.tell_end(0)
    finally:
        loop.remove_reader(attachment.fileno())
        streams.close()
        if streams.terminal is not None:
            os.close(streams.terminal)
        attachment.close()


def _join(container: Running, options: StreamOptions) -> tuple[Attachment, dict[int, int]]:
    """The attachment, and the platform's ends of the pipes to it. With a terminal there is no stderr of its own."""
    wanted = {
        STDIN: options.stdin and container.stdin,
        STDOUT: options.stdout,
        STDERR: options.stderr and not container.tty,
    }
    ours: dict[int, int] = {}
    theirs: dict[str, int] = {}
    for stream in (each for each, asked in wanted.items() if asked):
        read, write = os.pipe()
        ours[stream], theirs[NAMES[stream]] = (write, read) if stream == STDIN else (read, write)
    try:
        return Attachment(container.directory, theirs), ours
    except SandboxError:
        for number in ours.values():
            os.close(number)
        raise
    finally:
        for number in theirs.values():
            os.close(number)


def _streams(attachment: Attachment, ours: dict[int, int]) -> Streams:
    stdin = Sink(ours.pop(STDIN)) if STDIN in ours else None
    return Streams(stdin, {stream: Source(number) for stream, number in ours.items()}, attachment.terminal)


async def _follow(channels: Channels, container: Running, options: StreamOptions, clock: Clock) -> None:
    wanted = {b"stdout": STDOUT if options.stdout else None, b"stderr": STDERR if options.stderr else None}
    await channels.send(STDOUT, b"")

    async def tell() -> None:
        async for stream, text in follow_streams(container.log, container.running, clock):
            channel = wanted.get(stream)
            if channel is not None:
                await channels.send(channel, text)

    async def hear() -> None:
        while await channels.receive() is not None:
            continue

    telling, hearing = asyncio.create_task(tell()), asyncio.create_task(hear())
    try:
        await asyncio.wait({telling, hearing}, return_when=asyncio.FIRST_COMPLETED)
        told = telling.done()
    finally:
        for task in (telling, hearing):
            task.cancel()
        await asyncio.gather(telling, hearing, return_exceptions=True)
    if told:
        await channels.tell_end(0)
