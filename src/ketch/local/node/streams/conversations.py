"""Bytes both ways between a client's channels and a process's streams."""

import asyncio
from dataclasses import dataclass, field

from ketch.local.node.streams.channels import CLOSE, RESIZE, STDIN, STDOUT, Channels, parse_size
from ketch.local.node.streams.descriptors import Sink, Source, set_size

GRACE = 30.0
"""Seconds that a process has to read what a client that is gone has sent, and again to end by itself."""


@dataclass(slots=True)
class Streams:
    """The platform's ends of what a process reads and writes; those of a terminal are all ``terminal``."""

    stdin: Sink | None = None
    outputs: dict[int, Source] = field(default_factory=dict[int, Source])
    terminal: int | None = None

    def close_input(self) -> None:
        """Nothing more comes."""
        if self.stdin is not None:
            self.stdin.close()
            self.stdin = None

    def close(self) -> None:
        """Give all descriptors back: a terminal hangs up. Nobody may be reading or writing."""
        self.close_input()
        for source in self.outputs.values():
            source.close()
        self.outputs.clear()


async def converse(
    channels: Channels,
    streams: Streams,
    ended: asyncio.Future[None],
    hangup: asyncio.Future[None],
    grace: float = GRACE,
) -> bool:
    """Carry bytes until ``ended``, and until all that was written is sent. False: the client was gone before.

    What a client has sent that has hung up is still carried for ``grace`` seconds.
    """
    # Told at once that it is connected, a client need not wait for the first output.
    await channels.send(min(streams.outputs, default=STDOUT), b"")
    inputs = asyncio.create_task(_hear(channels, streams))
    outputs = [asyncio.create_task(_tell(channels, *each)) for each in streams.outputs.items()]
    try:
        await asyncio.wait({inputs, ended, hangup}, return_when=asyncio.FIRST_COMPLETED)
        if hangup.done():
            await asyncio.wait({inputs, ended}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            return False
        for source in streams.outputs.values():
            source.finish()
        await asyncio.gather(*outputs)
        return True
    finally:
        for task in (inputs, *outputs):
            task.cancel()
        await asyncio.gather(inputs, *outputs, return_exceptions=True)


async def _tell(channels: Channels, channel: int, source: Source) -> None:
    while data := await source.read():
        await channels.send(channel, data)


async def _hear(channels: Channels, streams: Streams) -> None:
    """Until the client is gone."""
    while (message := await channels.receive()) is not None:
        match message:
            case (channel, data) if channel == STDIN and streams.stdin is not None:
                await streams.stdin.write(data)
            case (channel, data) if channel == RESIZE and streams.terminal is not None:
                if (size := parse_size(data)) is not None:
                    set_size(streams.terminal, *size)
            case (channel, data) if channel == CLOSE and data == bytes((STDIN,)) and streams.terminal is None:
                streams.close_input()
            case _:
                continue


async def drain(streams: Streams) -> None:
    """Read what is written, for nobody, until the end."""
    await asyncio.gather(*(_waste(source) for source in streams.outputs.values()))


async def _waste(source: Source) -> None:
    while await source.read():
        continue
