"""The platform's APIs over HTTP, on sockets that are open already."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

GRACE_SECONDS = 3


@asynccontextmanager
async def served(application: Any, sockets: list[socket.socket]) -> AsyncGenerator[None]:
    """Serve an ASGI application, if there is one."""
    if application is None:
        yield
        return
    configuration = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    configuration.load()
    server = uvicorn.Server(configuration)
    server.lifespan = configuration.lifespan_class(configuration)
    await server.startup(sockets=sockets)
    try:
        yield
    finally:
        await server.shutdown(sockets=sockets)
