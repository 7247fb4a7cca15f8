"""``ketch up``: start the platform, in the foreground or behind."""

import asyncio
import os
import select
import sys
import time
from typing import Annotated

import typer

from ketch.cli.composition import end_pods, open_addresses, platform_processes, pods_left
from ketch.cli.degradation import degradation
from ketch.cli.messages import UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir, data_directory
from ketch.cli.parts import OPTION, Part
from ketch.local.platform.directory import DataDirectory, DirectoryError
from ketch.local.platform.gateway import GatewayMissing
from ketch.local.platform.record import end_leftovers, running_platform, stop_platform
from ketch.local.platform.supervisor import DirectoryInUse, Endpoints, StartError, Supervisor, lock_directory
from ketch.local.processes import start_ticks
from ketch.local.program import WARM
from ketch.pipelines.settings import SettingsError, read_settings

READY_WITHIN = 60.0
MARGIN = 5.0
"""Seconds after which the command that waits for a platform behind stops waiting for its word."""

LAST_PORT = 65535


def command_started() -> float:
    """Boot-clock seconds at which this process began; read from the kernel, so that imports count."""
    return (start_ticks(os.getpid()) or 0) / os.sysconf("SC_CLK_TCK")


def ready_line(directory: DataDirectory, endpoints: Endpoints, began: float) -> str:
    """The last line of a successful start; the command ``began`` at that second of the boot clock."""
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    kubeflow = f"{endpoints.platform} (Kubeflow APIs), " if endpoints.platform else ""
    return f"Ready in {seconds:.2f} s: {kubeflow}{endpoints.kubernetes} (Kubernetes, KUBECONFIG={directory.kubeconfig})"


def up(
    data_dir: DataDir = None,
    port: Annotated[
        int, typer.Option(min=0, max=LAST_PORT, help="Port of the one address for everything; 0 takes a free one.")
    ] = 8080,
    api_port: Annotated[
        int, typer.Option(min=0, max=LAST_PORT, help="Port of the Kubernetes API (TLS); 0 takes a free one.")
    ] = 6443,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the platform is ready; it runs on.")] = False,
    warm: Annotated[
        bool, typer.Option(envvar=WARM, help="Fork known Python programs from interpreters that are kept ready.")
    ] = True,
    without: Annotated[
        list[Part] | None,
        typer.Option(OPTION, help="Leave a part out: others bring it, as 'ketch manager' and 'ketch node' do."),
    ] = None,
) -> None:
    """Start the platform: Kubeflow's APIs on one address, the Kubernetes API on another."""
    directory, began = data_directory(data_dir), command_started()
    os.environ[WARM] = "1" if warm else "0"
    try:
        read_settings(os.environ)  # refused here, not in a process behind that cannot start
        directory.prepare()
        if detach:
            _detach(directory)
        lock = lock_directory(directory)
        end_leftovers(directory)
        addresses = open_addresses(port, api_port, without or ())
        specs = platform_processes(directory, addresses, without or ())
    except SettingsError as error:
        fail(str(error), USAGE)
    except (DirectoryError, StartError, GatewayMissing) as error:
        fail(str(error), UNAVAILABLE)
    supervisor = Supervisor(directory, specs, addresses.endpoints)
    try:
        asyncio.run(_foreground(supervisor, directory, addresses.endpoints, began))
    finally:
        os.close(lock)


async def _foreground(supervisor: Supervisor, directory: DataDirectory, endpoints: Endpoints, began: float) -> None:
    run = asyncio.create_task(supervisor.run())
    ready, hopeless = asyncio.create_task(supervisor.ready.wait()), asyncio.create_task(supervisor.hopeless.wait())
    waited = {run, ready, hopeless}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED, timeout=READY_WITHIN)
    obstacles = () if ready.done() or run.done() else supervisor.obstacles()
    for each in (ready, hopeless):
        each.cancel()
    if obstacles:  # what never was ready would never be: nothing of it stays
        why = "cannot start" if hopeless.done() else f"not ready after {READY_WITHIN:.0f} s"
        supervisor.stop()
        await run
        fail(f"{why}: {'; '.join(obstacles)}: see {directory.logs}", UNAVAILABLE)
    if ready.done() and not ready.cancelled():
        typer.echo(ready_line(directory, endpoints, began))
        sys.stdout.flush()
        if degraded := await degradation(directory):
            typer.echo(f"ketch: degraded: {degraded}", err=True)
    await run


def _detach(directory: DataDirectory) -> None:
    """Go on in a process behind, in a session of its own; only that one returns. The user's says how it went, and ends.

    Forked: a second interpreter with the same imports would cost a fifth of a second.
    """
    listen, tell = os.pipe()
    path = directory.log("supervisor")
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    told_before = os.fstat(log).st_size  # by a platform that may be running
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for place, number in enumerate((null, tell, log)):
            os.dup2(number, place)
        for number in (null, listen, tell, log):
            os.close(number)
        return
    os.close(tell)
    os.close(log)
    with os.fdopen(listen) as words:
        ended = bool(select.select([words], [], [], READY_WITHIN + MARGIN)[0])
        line = words.readline().strip() if ended else ""
    if line:
        typer.echo(line)
        if degraded := asyncio.run(degradation(directory)):
            typer.echo(f"ketch: degraded: {degraded}", err=True)
        raise typer.Exit
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0 if ended else os.WNOHANG)[1])
    reason = path.read_bytes()[told_before:].decode(errors="replace").strip().removeprefix("ketch: ")
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
    if not (directory.state.exists() or pods_left(directory)):
        return False
    try:
        lock = lock_directory(directory)
    except DirectoryInUse as error:
        fail(str(error), UNAVAILABLE)
    end_leftovers(directory)
    end_pods(directory)
    os.close(lock)
    return True
