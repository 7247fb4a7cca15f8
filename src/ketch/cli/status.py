"""``ketch status`` and ``ketch logs``: how the platform's processes are, and what they say."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime
from typing import Annotated

import typer

from ketch.cli.degradation import degradation
from ketch.cli.messages import FAILED, UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir, data_directory
from ketch.local.platform.record import ProcessRecord, running_platform


def _state(process: ProcessRecord) -> str:
    if process.ready:
        return "ready"
    return "starting" if process.pid is not None else f"down (last exit {process.last_exit})"


def status(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what runs and where it answers. Exit code 0: ready; 1: not all of it; 3: nothing runs."""
    directory = data_directory(data_dir)
    platform = running_platform(directory)
    if platform is None:
        fail(f"no platform runs on {directory.root}: start one with 'ketch up'", UNAVAILABLE)
    degraded = asyncio.run(degradation(directory))
    if as_json:
        typer.echo(json.dumps({**json.loads(directory.state.read_text()), "degraded": degraded}, indent=1))
    else:
        since = datetime.fromtimestamp(platform.started, UTC).astimezone()
        typer.echo(
            f"{'ready' if platform.ready else 'not ready'}, process {platform.pid}, since {since:%Y-%m-%d %H:%M:%S}"
        )
        if platform.platform:
            typer.echo(f"  Kubeflow APIs  {platform.platform}")
        kubeconfig = f"  KUBECONFIG={directory.kubeconfig}" if directory.kubeconfig.exists() else ""
        typer.echo(f"  Kubernetes     {platform.kubernetes}{kubeconfig}")
        typer.echo(f"  data           {directory.root}")
        for process in platform.processes:
            again = f", restarted {process.restarts} times" if process.restarts else ""
            typer.echo(f"  {process.name:<14} {_state(process)}, process {process.pid or '-'}{again}")
        if degraded:
            typer.echo(f"degraded: {degraded}")
    if not platform.ready:
        raise typer.Exit(FAILED)


def logs(
    process: Annotated[str, typer.Argument(help="Which process; all of them when left out.")] = "",
    data_dir: DataDir = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it writes.")] = False,
    tail: Annotated[int, typer.Option(help="Lines of each process to begin with.")] = 100,
) -> None:
    """Print the log of the platform's processes. (Logs of pods: kubectl logs.)"""
    directory = data_directory(data_dir)
    known = sorted(path.stem for path in directory.logs.glob("*.log"))
    if process and process not in known:
        fail(f"no log of process {process!r} in {directory.logs}: there are {', '.join(known) or 'none'}", USAGE)
    paths = [str(directory.log(name)) for name in ([process] if process else known)]
    if not paths:
        fail(f"no logs in {directory.logs}: no platform has run there", UNAVAILABLE)
    argv = ["tail", f"--lines={tail}", *(["--follow=name"] if follow else []), *paths]
    raise typer.Exit(subprocess.run(argv, check=False).returncode)
