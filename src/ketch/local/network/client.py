"""The client of the network daemon."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ketch.kube.clock import SYSTEM_CLOCK, Clock
from ketch.local.network.wire import (
    Attachment,
    AttachmentsRequest,
    AttachRequest,
    Block,
    ConnectRequest,
    DetachRequest,
    Direction,
    InfoRequest,
    NamesRequest,
    NetworkInfo,
    Opening,
    PoliciesRequest,
    PolicyEntry,
    PortRange,
    Reply,
    Request,
    ServiceEntry,
    ServicesRequest,
    TransportProtocol,
    UserNamespaceRequest,
)

__all__ = [
    "Attachment",
    "Block",
    "Direction",
    "NetworkClient",
    "NetworkError",
    "NetworkInfo",
    "NetworkUnavailable",
    "Opening",
    "PolicyEntry",
    "PortRange",
    "ServiceEntry",
    "TransportProtocol",
]

PATIENCE = 10.0
"""Seconds in which a daemon that was killed is expected back."""

RETRY_PAUSE = 0.02
CHUNK = 1 << 16
MOST_DESCRIPTORS = 4


class NetworkError(Exception):
    """The daemon could not do what was asked; the message says why."""


class NetworkUnavailable(NetworkError):
    """The daemon did not answer."""


class NetworkClient:
    """Speaks to the daemon on ``socket_path``; a daemon that restarts meanwhile is waited for.

    Every request may be repeated without harm, so one that broke off is.
    """

    def __init__(self, socket_path: Path, clock: Clock = SYSTEM_CLOCK, patience: float = PATIENCE) -> None:
        self._path = socket_path
        self._clock = clock
        self._patience = patience

    async def info(self) -> NetworkInfo:
        """How pods are connected on this machine."""
        reply, _ = await self._ask(InfoRequest())
        if reply.info is None:
            raise NetworkError("the network daemon's answer lacks the information asked for")
        return reply.info

    async def user_namespace(self) -> int | None:
        """The user namespace (a descriptor that the caller closes) to enter before a pod's; None: none is needed."""
        _, descriptors = await self._ask(UserNamespaceRequest())
        return descriptors[0] if descriptors else None

    async def attach(self, pod_id: str, domain: str = "") -> Attachment:
        """The pod's address and network namespace, the same until ``detach``.

        ``domain`` (a namespace of the cluster) is where short names are looked up that the pod asks the proxy for: it
        may ask before any table tells of it.
        """
        reply, descriptors = await self._ask(AttachRequest(pod_id, domain))
        return Attachment(reply.ip, descriptors[0] if descriptors else None)

    async def detach(self, pod_id: str, *, unchanged: bool = False) -> None:
        """Free the pod's address and namespace. An unknown pod is no error.

        ``unchanged``: nobody has set anything in the namespace, which may then become another's if it was not used.
        """
        await self._ask(DetachRequest(pod_id, unchanged))

    async def attachments(self) -> Mapping[str, str]:
        """The addresses of all attached pods."""
        reply, _ = await self._ask(AttachmentsRequest())
        return reply.attachments

    async def set_services(self, entries: Sequence[ServiceEntry]) -> None:
        """Replace the table of Services; what did not change is not touched."""
        await self._ask(ServicesRequest(tuple(entries)))

    async def set_names(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Replace the table of names: full names without the last dot, each with its addresses."""
        await self._ask(NamesRequest(names))

    async def set_policies(self, entries: Sequence[PolicyEntry]) -> None:
        """Replace the table of what is closed between pods, at once for all of them."""
        await self._ask(PoliciesRequest(tuple(entries)))

    async def connect(self, ip: str, port: int, timeout: float = 5.0) -> socket.socket:
        """A TCP connection, made inside the cluster's network, non-blocking. Raises OSError as connecting does."""
        reply, descriptors = await self._ask(ConnectRequest(ip, port, timeout), timeout)
        if reply.errno:
            raise OSError(reply.errno, f"connect to {ip}:{port}: {os.strerror(reply.errno)}")
        if not descriptors:
            raise NetworkError(f"the network daemon sent no connection to {ip}:{port}")
        connection = socket.socket(fileno=descriptors[0])
        connection.setblocking(False)
        return connection

    async def _ask(self, request: Request, timeout: float = 0.0) -> tuple[Reply, Sequence[int]]:
        message, trouble = msgspec.json.encode(request) + b"\n", "it took too long"
        try:
            async with asyncio.timeout(self._patience + timeout):
                while True:
                    try:
                        reply, descriptors = await _exchange(self._path, message)
                        break
                    except (ConnectionError, FileNotFoundError) as error:
                        trouble = str(error)
                    await self._clock.sleep(RETRY_PAUSE)
        except TimeoutError as error:
            raise NetworkUnavailable(f"the network daemon does not answer on {self._path}: {trouble}") from error
        if reply.error and not reply.errno:
            raise NetworkError(reply.error)
        return reply, descriptors


async def _exchange(path: Path, message: bytes) -> tuple[Reply, Sequence[int]]:
    loop = asyncio.get_running_loop()
    descriptors: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, str(path))
            await loop.sock_sendall(connection, message)
            answer = bytearray()
            while not answer.endswith(b"\n"):
                chunk, received, _, _ = await _receive(loop, connection)
                descriptors += received
                if not chunk:
                    raise ConnectionResetError("it closed the connection without an answer")
                answer += chunk
            reply = msgspec.json.decode(bytes(answer), type=Reply)
        except BaseException:  # also when cancelled: what came along must not leak
            for descriptor in descriptors:
                os.close(descriptor)
            raise
    return reply, descriptors


async def _receive(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> tuple[bytes, list[int], int, object]:
    while True:
        with contextlib.suppress(BlockingIOError):
            return socket.recv_fds(connection, CHUNK, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(connection.fileno(), _wake, readable)
        try:
            await readable
        finally:
            loop.remove_reader(connection.fileno())


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
