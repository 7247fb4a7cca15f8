"""``ketch node``: this machine as a node of any API server."""

import asyncio
import ipaddress
import os
import platform
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ketch.cli.composition import node_processes
from ketch.cli.messages import UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir, data_directory
from ketch.kube.config import ConfigError, load_config
from ketch.local.node.remote.joining import (
    DEFAULT_PORT,
    JoinError,
    address_towards,
    parse_labels,
    parse_taints,
)
from ketch.local.platform.directory import DataDirectory, DirectoryError
from ketch.local.platform.record import end_leftovers
from ketch.local.platform.supervisor import Endpoints, StartError, Supervisor, listen_at, lock_directory

LAST_PORT = 65535
TELL_AFTER_SECONDS = 5.0
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


Cluster = Annotated[
    Path, typer.Option("--kubeconfig", metavar="FILE", help="How the API server is reached, and as whom.")
]
Name = Annotated[str, typer.Option(help="Of the Node; this machine's own when left out.")]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Of the Node; repeat it.")]
Taints = Annotated[
    list[str] | None,
    typer.Option("--taint", metavar="KEY=VALUE:EFFECT", help="Of the Node when it is made; repeat it."),
]
Address = Annotated[str, typer.Option(help="Where the API server reaches this machine; found out when left out.")]
Port = Annotated[
    int, typer.Option(min=0, max=LAST_PORT, help="Where logs and live connections are served; 0 takes a free one.")
]
Authority = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Who signs the API server's client certificate [default: the kubeconfig's]."),
]


def node(
    kubeconfig: Cluster,
    context: Annotated[str, typer.Option(help="Of the kubeconfig; its current one when left out.")] = "",
    name: Name = "",
    labels: Labels = None,
    taints: Taints = None,
    address: Address = "",
    port: Port = DEFAULT_PORT,
    client_ca: Authority = None,
    data_dir: DataDir = None,
) -> None:
    """Run pods of another API server on this machine, until it is told to end: its containers end then, too."""
    directory, name = data_directory(data_dir), name or platform.node().lower()
    kubeconfig = kubeconfig.expanduser().absolute()
    if not _NAME.fullmatch(name):
        fail(f"--name {name!r}: expected small letters, digits, '-' and '.'", USAGE)
    if client_ca is not None and not client_ca.expanduser().is_file():
        fail(f"--client-ca {client_ca}: there is no such file", USAGE)
    try:
        server = load_config(kubeconfig, context).server
        parse_labels(labels or ())
        parse_taints(taints or ())
        address = address or address_towards(server)
    except (ConfigError, JoinError) as error:
        fail(str(error), USAGE)
    options = ("--context", context, "--node-name", name, "--address", address)
    options += (*_repeated("--label", labels), *_repeated("--taint", taints))
    if client_ca is not None:
        options += ("--client-ca", str(client_ca.expanduser().absolute()))
    try:
        directory.prepare()
        lock = lock_directory(directory)
        end_leftovers(directory)
        door = listen_at(_bound(address), port, "--port")
    except (DirectoryError, StartError) as error:
        fail(str(error), UNAVAILABLE)
    specs = node_processes(directory, kubeconfig, *options, door=door)
    supervisor = Supervisor(directory, specs, Endpoints("", server))
    try:
        asyncio.run(_foreground(supervisor, directory, f"node {name} of {server}, on {address}"))
    finally:
        os.close(lock)


def _bound(address: str) -> str:
    """What to listen at: the address, or all of this machine's where it is a name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "0.0.0.0"  # noqa: S104  # nobody comes in without a certificate
    return address


def _repeated(option: str, values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(word for value in values or () for word in (option, value))


async def _foreground(supervisor: Supervisor, directory: DataDirectory, what: str) -> None:
    """Run the node's programs, and say when they are ready; or, now and then, what they wait for."""
    run = asyncio.create_task(supervisor.run())
    ready, hopeless = asyncio.create_task(supervisor.ready.wait()), asyncio.create_task(supervisor.hopeless.wait())
    done: Collection[asyncio.Task[Any]] = ()
    told: Sequence[str] = ()
    while not done:
        done, _ = await asyncio.wait(
            {run, ready, hopeless}, return_when=asyncio.FIRST_COMPLETED, timeout=TELL_AFTER_SECONDS
        )
        if not done and (obstacles := supervisor.obstacles()) != told:
            typer.echo(f"ketch: not ready yet: {'; '.join(obstacles)}", err=True)
            told = obstacles
    obstacles = supervisor.obstacles() if hopeless.done() else ()
    for each in (ready, hopeless):
        each.cancel()
    if obstacles:
        supervisor.stop()
        await run
        fail(f"cannot start: {'; '.join(obstacles)}: see {directory.logs}", UNAVAILABLE)
    if not run.done():
        typer.echo(f"Ready: {what}")
        sys.stdout.flush()
    await run
