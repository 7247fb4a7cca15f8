"""The daemon's socket: reads requests, has the network carry them out, answers."""

import asyncio
import contextlib
import errno
import logging
import socket
from typing import NamedTuple

import msgspec

from ketch.local.network.networks import Network
from ketch.local.network.wire import (
    AttachmentsRequest,
    AttachRequest,
    ConnectRequest,
    DetachRequest,
    InfoRequest,
    NamesRequest,
    PoliciesRequest,
    Reply,
    Request,
    ServicesRequest,
    UserNamespaceRequest,
)

LARGEST_REQUEST = 64 << 20
_CHUNK = 1 << 18
_LOG = logging.getLogger(__name__)


class Answer(NamedTuple):
    """An answer, the descriptor that goes with it, and what is closed once it has gone out."""

    reply: Reply
    descriptor: int | None = None
    closing: socket.socket | None = None


class ControlServer:
    """Serves a network on a listening Unix socket."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        try:
            while True:
                connection, _ = await loop.sock_accept(listener)
                task = loop.create_task(self._converse(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            message = await _read_line(connection)
            if message is None:
                return
            try:
                answer = await self._answer(message)
            except msgspec.MsgspecError as error:
                answer = Answer(Reply(error=f"the request cannot be understood: {error}"))
            except OSError as error:
                answer = Answer(Reply(error=error.strerror or str(error)))
            except Exception as error:  # one request's failure must not end the daemon  # noqa: BLE001
                _LOG.exception("a request failed")
                answer = Answer(Reply(error=f"internal error of the network daemon: {error!r}"))
            try:
                await _write(connection, answer)
            finally:
                if answer.closing is not None:
                    answer.closing.close()

    async def _answer(self, message: bytes) -> Answer:
        network = self._network
        request: Request = msgspec.json.decode(message, type=Request)
        match request:
            case InfoRequest():
                return Answer(Reply(info=network.info))
            case UserNamespaceRequest():
                return Answer(Reply(), network.user_namespace)
            case AttachRequest(pod=pod, domain=domain):
                ip, namespace = await network.attach(pod, domain)
                return Answer(Reply(ip=ip), namespace)
            case DetachRequest(pod=pod, unchanged=unchanged):
                await network.detach(pod, unchanged=unchanged)
            case AttachmentsRequest():
                return Answer(Reply(attachments=network.attachments()))
            case ServicesRequest(entries=entries):
                await network.set_services(entries)
            case NamesRequest(names=names):
                await network.set_names(names)
            case PoliciesRequest(entries=entries):
                await network.set_policies(entries)
            case ConnectRequest(ip=ip, port=port, timeout=timeout):
                return await self._connect(ip, port, timeout)
        return Answer(Reply())

    async def _connect(self, ip: str, port: int, timeout: float) -> Answer:
        try:
            connection = await self._network.connect(ip, port, timeout)
        except TimeoutError:
            return Answer(Reply(error="the connection timed out", errno=errno.ETIMEDOUT))
        except OSError as error:
            return Answer(Reply(error=str(error), errno=error.errno or errno.EIO))
        return Answer(Reply(), connection.fileno(), connection)


async def _read_line(connection: socket.socket) -> bytes | None:
    loop, message = asyncio.get_running_loop(), bytearray()
    while not message.endswith(b"\n"):
        chunk = await loop.sock_recv(connection, _CHUNK)
        if not chunk or len(message) > LARGEST_REQUEST:
            return None
        message += chunk
    return bytes(message)


async def _write(connection: socket.socket, answer: Answer) -> None:
    data, sent = msgspec.json.encode(answer.reply) + b"\n", 0
    if answer.descriptor is not None:
        # Nothing was sent on this connection before: the first part of an answer always finds room.
        sent = socket.send_fds(connection, [data], [answer.descriptor])
    await asyncio.get_running_loop().sock_sendall(connection, data[sent:])
