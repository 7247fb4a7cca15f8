"""``ketch up``: start the platform, in the foreground or behind."""

import asyncio
import os
import subprocess
import sys
import time
from typing import Annotated

import typer

from ketch.cli.composition import end_pods, open_addresses, platform_processes
from ketch.cli.degradation import degradation
from ketch.cli.messages import UNAVAILABLE, fail
from ketch.cli.options import DataDir, data_directory
from ketch.local.platform.directory import DataDirectory, DirectoryError
from ketch.local.platform.gateway import GatewayMissing
from ketch.local.platform.record import end_leftovers, running_platform, stop_platform
from ketch.local.platform.supervisor import DirectoryInUse, Endpoints, StartError, Supervisor, lock_directory
from ketch.local.processes import start_ticks

READY_WITHIN = 60.0
STARTED_BY = "KETCH_STARTED_AT"
"""Environment: boot-clock seconds at which the user's command began, for the one that runs on its behalf."""


def command_started() -> float:
    """Boot-clock seconds at which the user's command began; read from the kernel, so that imports count."""
    if told := os.environ.get(STARTED_BY):
        return float(told)
    return (start_ticks(os.getpid()) or 0) / os.sysconf("SC_CLK_TCK")


def ready_line(directory: DataDirectory, endpoints: Endpoints) -> str:
    """The last line of a successful start."""
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - command_started()
    return (
        f"Ready in {seconds:.2f} s: {endpoints.platform} (Kubeflow APIs), "
        f"{endpoints.kubernetes} (Kubernetes, KUBECONFIG={directory.kubeconfig})"
    )


def up(
    data_dir: DataDir = None,
    port: Annotated[int, typer.Option(help="Port of the one address for everything; 0 takes a free one.")] = 8080,
    api_port: Annotated[int, typer.Option(help="Port of the Kubernetes API (TLS); 0 takes a free one.")] = 6443,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the platform is ready; it runs on.")] = False,
) -> None:
    """Start the platform: Kubeflow's APIs on one address, the Kubernetes API on another."""
    directory = data_directory(data_dir)
    if detach:
        _detach(directory, port, api_port)
        return
    try:
        directory.prepare()
        lock = lock_directory(directory)
        end_leftovers(directory)
        addresses = open_addresses(port, api_port)
        specs = platform_processes(directory, addresses)
    except (DirectoryError, StartError, GatewayMissing) as error:
        fail(str(error), UNAVAILABLE)
    supervisor = Supervisor(directory, specs, addresses.endpoints)
    try:
        asyncio.run(_foreground(supervisor, directory, addresses.endpoints))
    finally:
        os.close(lock)


async def _foreground(supervisor: Supervisor, directory: DataDirectory, endpoints: Endpoints) -> None:
    run = asyncio.create_task(supervisor.run())
    ready = asyncio.create_task(supervisor.ready.wait())
    await asyncio.wait({run, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=READY_WITHIN)
    if ready.done():
        typer.echo(ready_line(directory, endpoints))
        sys.stdout.flush()
        if degraded := await degradation(directory):
            typer.echo(f"ketch: degraded: {degraded}", err=True)
    elif not run.done():
        late = [name for name, item in supervisor.describe()["processes"].items() if not item["ready"]]
        typer.echo(f"ketch: not ready after {READY_WITHIN:.0f} s: {', '.join(late)}: see {directory.logs}", err=True)
    ready.cancel()
    await run


def _detach(directory: DataDirectory, port: int, api_port: int) -> None:
    """Start the same command in a session of its own and wait for its word."""
    try:
        directory.prepare()
    except DirectoryError as error:
        fail(str(error), UNAVAILABLE)
    argv = [sys.executable, "-m", "ketch.cli.main", "up", "--data-dir", str(directory.root)]
    argv += ["--port", str(port), "--api-port", str(api_port)]
    with directory.log("supervisor").open("wb") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env={**os.environ, STARTED_BY: str(command_started())},
        )
    assert process.stdout
    line = process.stdout.readline().decode().strip()
    if line:
        typer.echo(line)
        if degraded := asyncio.run(degradation(directory)):
            typer.echo(f"ketch: degraded: {degraded}", err=True)
        return
    code = process.wait()
    reason = directory.log("supervisor").read_text().strip().removeprefix("ketch: ")
    fail(reason or f"the platform did not start (exit code {code}): see {directory.logs}", code or UNAVAILABLE)


def down(data_dir: DataDir = None) -> None:
    """Stop the platform: its pods, then its processes. The data directory stays as it is."""
    directory = data_directory(data_dir)
    platform = running_platform(directory)
    if platform is not None:
        stop_platform(platform)
        typer.echo("stopped")
    elif _clear_away(directory):
        typer.echo(f"stopped what a killed platform left on {directory.root}")
    else:
        typer.echo(f"no platform runs on {directory.root}")


def _clear_away(directory: DataDirectory) -> bool:
    """End the processes and pods of a platform whose supervisor was killed; whether there was one."""
    if not directory.state.exists():
        return False
    try:
        lock = lock_directory(directory)
    except DirectoryInUse as error:
        fail(str(error), UNAVAILABLE)
    end_leftovers(directory)
    end_pods(directory)
    os.close(lock)
    return True
