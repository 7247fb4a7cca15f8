"""Probes and lifecycle hooks: each asks one question of a container, in time."""

import asyncio
import http.client
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Protocol

from ketch.kube.types.containers import Container, HTTPGetAction, IntOrString, LifecycleHandler, Probe
from ketch.local.network.client import NetworkClient, NetworkError
from ketch.local.node.grpchealth import Health, NoAnswer, ask_health
from ketch.local.sandbox.client import SandboxClient
from ketch.local.sandbox.container import Container as SandboxContainer
from ketch.local.sandbox.errors import SandboxError

LONGEST_OUTPUT = 10 * 1024
LONGEST_BODY = 10 * 1024
HOOK_SECONDS = 3600.0


class ActionFailed(Exception):
    """The answer is no; the message says how it showed."""


class Clocked(Protocol):
    """What sleeping needs."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


def port_number(container: Container, port: IntOrString) -> int:
    """A port by number or by the name that the container gives it. Raises ActionFailed."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for declared in container.ports:
        if declared.name == port:
            return declared.container_port
    raise ActionFailed(f'port "{port}" is not a port of container {container.name}')


class Actions:
    """Runs probes and hooks in, or against, running containers."""

    def __init__(self, sandbox: SandboxClient, network: NetworkClient, clock: Clocked) -> None:
        self._sandbox = sandbox
        self._network = network
        self._clock = clock

    async def probe(self, probe: Probe, container: Container, running: SandboxContainer, pod_ip: str) -> None:
        """Raises ActionFailed when the probe fails."""
        timeout = float(probe.timeout_seconds or 1)
        if probe.exec is not None:
            await self._exec(running, probe.exec.command, timeout)
        elif probe.http_get is not None:
            await self._http(probe.http_get, container, pod_ip, timeout)
        elif probe.tcp_socket is not None:
            port = port_number(container, probe.tcp_socket.port)
            (await self._connect(probe.tcp_socket.host or pod_ip, port, timeout)).close()
        elif probe.grpc is not None:
            await self._health(pod_ip, probe.grpc.port, probe.grpc.service or "", timeout)

    async def hook(self, hook: LifecycleHandler, container: Container, running: SandboxContainer, pod_ip: str) -> None:
        """Raises ActionFailed when the hook fails."""
        if hook.exec is not None:
            await self._exec(running, hook.exec.command, HOOK_SECONDS)
        elif hook.http_get is not None:
            await self._http(hook.http_get, container, pod_ip, HOOK_SECONDS)
        elif hook.sleep is not None:
            await self._clock.sleep(hook.sleep.seconds)
        else:  # a connection among them: the API knows it and lets no hook have it
            raise ActionFailed("invalid handler: a hook runs a command, asks by HTTP or sleeps")

    async def _exec(self, running: SandboxContainer, command: Sequence[str], timeout: float) -> None:
        try:
            result = await self._sandbox.exec(running, command, timeout, LONGEST_OUTPUT)
        except SandboxError as error:
            raise ActionFailed(str(error)) from error
        if result.code:
            said = result.output.decode(errors="replace").strip()
            raise ActionFailed(said or f"command exited with {result.code}")

    async def _connect(self, host: str, port: int, timeout: float) -> socket.socket:
        try:
            return await self._network.connect(host, port, timeout)
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else "no answer in time"
            raise ActionFailed(f"dial tcp {host}:{port}: connect: {why}") from error
        except NetworkError as error:
            raise ActionFailed(f"dial tcp {host}:{port}: {error}") from error

    async def _health(self, host: str, port: int, service: str, timeout: float) -> None:
        """grpc.health.v1 says that it serves. Raises ActionFailed."""
        authority = f"{host}:{port}"
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(sock=await self._connect(host, port, timeout))
                try:
                    status = await ask_health(reader, writer, authority, service)
                finally:
                    writer.close()
        except TimeoutError:
            raise ActionFailed(f'timeout: health rpc did not complete within {timeout:g}s for "{authority}"') from None
        except (NoAnswer, OSError, asyncio.IncompleteReadError) as error:
            raise ActionFailed(f"error: {error}") from error
        if status != Health.SERVING:
            said = Health(status).name if status in tuple(Health) else str(status)
            raise ActionFailed(f'service unhealthy (responded with "{said}")')

    async def _http(self, action: HTTPGetAction, container: Container, pod_ip: str, timeout: float) -> None:
        host, port = action.host or pod_ip, port_number(container, action.port)
        url = f"{(action.scheme or 'HTTP').lower()}://{host}:{port}{action.path or '/'}"
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connect(host, port, timeout)
                status = await _get(connection, action, f"{host}:{port}")
        except TimeoutError:
            raise ActionFailed(f'Get "{url}": context deadline exceeded') from None
        except ActionFailed as error:
            raise ActionFailed(f'Get "{url}": {error}') from error
        except (OSError, ValueError, http.client.HTTPException, asyncio.IncompleteReadError) as error:
            raise ActionFailed(f'Get "{url}": {error}') from error
        if not 200 <= status < 400:
            raise ActionFailed(f"HTTP probe failed with statuscode: {status}")


async def _get(connection: socket.socket, action: HTTPGetAction, authority: str) -> int:
    """The status of one GET over ``connection``, which is closed at the end."""
    context = None
    if action.scheme == "HTTPS":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = (
            False,
            ssl.CERT_NONE,
        )  # as a kubelet does
    headers = {"Host": authority, "User-Agent": "kube-probe/1.37", "Accept": "*/*", "Connection": "close"}
    headers |= {header.name: header.value for header in action.http_headers}
    reader, writer = await asyncio.open_connection(
        sock=connection, ssl=context, server_hostname=authority.rpartition(":")[0] if context else None
    )
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {action.path or '/'} HTTP/1.1\r\n{lines}\r\n".encode())
        first = await reader.readline()
        words = first.split(maxsplit=2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/"):
            raise ValueError("malformed HTTP response")
        return int(words[1])
    finally:
        writer.close()
