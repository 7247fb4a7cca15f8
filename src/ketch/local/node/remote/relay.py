"""The API server as pods of this node reach it: connections to its Service end here, and go on to the real one."""

import asyncio
import socket
from pathlib import Path

from ketch.local.network.relay import Streams, serve_relay


async def relay_api(path: Path, host: str, port: int) -> asyncio.Server:
    """Carry every connection to the unix socket ``path`` on to the API server, TLS as it comes."""

    async def reach() -> Streams:
        return await asyncio.open_connection(host, port)

    fresh = path.with_suffix(".new")
    await asyncio.to_thread(fresh.unlink, missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(fresh))
    fresh.chmod(0o600)
    server = await serve_relay(listener, reach)
    await asyncio.to_thread(fresh.rename, path)
    return server
