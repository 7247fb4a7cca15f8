"""The Kubernetes API as commands reach it: that of the platform on the data directory, or of another cluster."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from ketch.cli.messages import UNAVAILABLE, fail
from ketch.cli.options import data_directory
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.config import load_config
from ketch.kube.http import HTTPTransport
from ketch.kube.rest import RESTClient
from ketch.local.platform.record import running_platform

Kubeconfig = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Another cluster than the platform on the data directory.")
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Where the job is.")]


def kubeconfig_of(given: Path | None, data_dir: Path | None) -> Path:
    """How the cluster that is meant is reached; ends the command where none runs."""
    if given is not None:
        return given.expanduser()
    directory = data_directory(data_dir)
    if running_platform(directory) is None:
        fail(f"no platform runs on {directory.root}: start one with 'ketch up'", UNAVAILABLE)
    return directory.kubeconfig


@asynccontextmanager
async def cluster(kubeconfig: Path) -> AsyncGenerator[RESTClient]:
    """The cluster's API. Raises ConfigError."""
    client = RESTClient(HTTPTransport(load_config(kubeconfig), SYSTEM_CLOCK))
    try:
        yield client
    finally:
        await client.close()
