"""The node agent's way to the keeper zygote."""

import array
import asyncio
import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ketch.local.sandbox import errors
from ketch.local.sandbox.container import Container
from ketch.local.sandbox.ending import Ending
from ketch.local.sandbox.spec import ContainerSpec, ExecResult, Started, TemplateSpec, WarmStart
from ketch.local.sandbox.wire import HEADER, encode, prefix

NANOSECONDS = 1_000_000_000
CHUNK = 1 << 16
WARM_FIELDS = ("program", "module", "arguments", "env", "text", "text_name", "text_at", "below_shell")
PATIENCE = 20.0
"""Seconds until a nursery that does not answer is given up. It answers sooner when its template does not."""

DRAIN = 1.0
"""Seconds that a command's output may stay open after the command itself has ended."""


def as_request(spec: ContainerSpec, descriptors: Sequence[str], warm: WarmStart | None = None) -> Mapping[str, Any]:
    """The spec as the zygote wants it (``wire.StartRequest``), or, with ``warm``, a nursery."""
    fields = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    paths = {"directory": str(spec.directory.absolute()), "log": str(spec.log.absolute())}
    mounts = [vars(mount) for mount in spec.mounts if warm is None or mount not in warm.furniture]
    shared = {"processes_of": str(spec.processes_of.absolute()) if spec.processes_of else None}
    chosen = {"mounts": mounts, "warm": None if warm is None else {name: getattr(warm, name) for name in WARM_FIELDS}}
    return {"operation": "start", "descriptors": descriptors, **fields, **paths, **shared, **chosen}


class _Connection:
    """One request and its answers."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, path: Path) -> Self:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(path))
        except OSError as error:
            connection.close()
            raise errors.SandboxUnavailable(f"the keeper does not answer at {path}: {error.strerror}") from error
        return cls(connection)

    async def request(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        payload = encode(message)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._connection.sendmsg([prefix(payload)], rights)
            await self._loop.sock_sendall(self._connection, payload)
        except OSError as error:
            raise errors.SandboxUnavailable(f"the keeper hung up: {error.strerror}") from error

    async def answer(self) -> Mapping[str, Any]:
        head = await self._exactly(HEADER)
        answer = json.loads(await self._exactly(int.from_bytes(head, "big")))
        if "error" in answer:
            raise errors.from_answer(answer)
        return answer

    async def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                part = await self._loop.sock_recv(self._connection, length - len(data))
            except OSError:
                part = b""
            if not part:
                raise errors.SandboxUnavailable("the keeper ended before it answered")
            data += part
        return data

    def detach(self) -> int:
        return self._connection.detach()

    def close(self) -> None:
        self._connection.close()


class _Output:
    """What comes out of a pipe, at most ``limit`` bytes of it; the rest is read and dropped."""

    def __init__(self, descriptor: int, limit: int) -> None:
        self.data = bytearray()
        self.ended = asyncio.Event()
        self._descriptor = descriptor
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            part = os.read(self._descriptor, CHUNK)
            self.data.extend(part[: self._limit - len(self.data)])
            if not part:
                self._loop.remove_reader(self._descriptor)
                self.ended.set()

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)


class SandboxClient:
    """Starts containers, and commands in them. Safe to use from many tasks at once."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    async def start(self, spec: ContainerSpec, netns_fd: int | None = None) -> Started:
        """Start a container and return when its program runs. Raises SandboxError (see ``errors``).

        Without ``netns_fd`` it lives in the network the keeper lives in.
        """
        if spec.warm is not None:
            with contextlib.suppress(errors.SandboxUnavailable, errors.Unwarmed, TimeoutError):
                return await self._start_warm(spec.warm, spec, netns_fd)
        return await self._start(self._socket_path, spec, netns_fd)

    async def _start_warm(self, warm: WarmStart, spec: ContainerSpec, netns_fd: int | None) -> Started:
        """A second time where the init that took the request was killed: there are others."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(errors.SandboxUnavailable):
                return await self._start(warm.template, spec, netns_fd, warm)
            return await self._start(warm.template, spec, netns_fd, warm)

    async def _start(
        self, path: Path, spec: ContainerSpec, netns_fd: int | None, warm: WarmStart | None = None
    ) -> Started:
        connection = await _Connection.open(path)
        descriptors = {} if netns_fd is None else {"network": netns_fd}
        ending = None
        try:
            await connection.request(as_request(spec, list(descriptors), warm), list(descriptors.values()))
            answer = await connection.answer()
            ending = None if warm is None else Ending(connection.detach())
        finally:
            connection.close()
        started_at = datetime.fromtimestamp(answer["started_at"] / NANOSECONDS, UTC)
        return Started(answer["keeper_pid"], answer["pid"], started_at, answer["warm"], ending)

    async def start_template(self, spec: TemplateSpec) -> None:
        """Start a warm interpreter and return when it is ready; beside its socket stands what it has imported.

        Raises SandboxError: AlreadyStarted when there is one, or is about to be.
        """
        rehearsal = None if spec.rehearsal is None else vars(spec.rehearsal)
        fields = {**vars(spec), "socket": str(spec.socket), "log": str(spec.log), "rehearsal": rehearsal}
        mounts = {
            name: [vars(mount) for mount in listed]
            for name, listed in (("mounts", spec.mounts), ("furniture", spec.furniture))
        }
        connection = await _Connection.open(self._socket_path)
        try:
            await connection.request({"operation": "template", "descriptors": [], **fields, **mounts}, ())
            await connection.answer()
        finally:
            connection.close()

    @staticmethod
    def end_template(path: Path) -> None:
        """Have a template end, unless it has so much to do that it had better stay."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
            way.setblocking(False)
            try:
                way.connect(str(path))
                payload = encode({"operation": "end", "descriptors": []})
                way.sendall(prefix(payload) + payload)
            except OSError:
                return  # it has ended

    async def exec(
        self, container: Container, argv: Sequence[str], timeout: float | None = None, limit: int = 1 << 20
    ) -> ExecResult:
        """Run ``argv`` in the container's namespaces, with its environment, directory and user.

        Output beyond ``limit`` bytes is dropped. Raises ExecTimeout, NotRunning, NotStarted, StartError.
        """
        connection = await _Connection.open(self._socket_path)
        read, write = os.pipe()
        output = _Output(read, limit)
        request = {
            "operation": "exec",
            "descriptors": ["stdout", "stderr"],
            "directory": str(container.directory.absolute()),
            "argv": list(argv),
        }
        try:
            try:
                await connection.request(request, (write, write))
            finally:
                os.close(write)
            async with asyncio.timeout(timeout):
                await connection.answer()
                code = (await connection.answer())["code"]
            # A daemon that the command left behind may hold its output open: what has come until now is the answer.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(output.ended.wait(), DRAIN)
            return ExecResult(code, bytes(output.data))
        except TimeoutError:
            raise errors.ExecTimeout(f"the command did not end within {timeout or 0:g} seconds") from None
        finally:
            output.close()
            connection.close()
