"""How a container's end is told to whoever asked for the container, sooner than the kernel tells it."""

import asyncio
import os


class Ending:
    """Becomes readable when a container has ended, or its keeper has: a descriptor that is closed with this object."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def wait(self) -> None:
        """Until then."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._descriptor)

    def __del__(self) -> None:
        os.close(self._descriptor)
