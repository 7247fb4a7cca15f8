"""``ketch manager``: parse, run a replica, say how it ended."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from ketch.cli.manager.options import HEALTH_PORT, PORT, SECURE_PORT, ManagerOptions
from ketch.cli.messages import FAILED, UNAVAILABLE, USAGE, fail
from ketch.cli.options import data_directory
from ketch.cli.parts import OPTION, Part
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.config import ClusterConfig, ConfigError, load_config
from ketch.kube.errors import APIError, TransportError
from ketch.kube.http import HTTPTransport
from ketch.kube.installation import DefinitionsMissing
from ketch.kube.leader import LeadershipLost
from ketch.kube.rest import RESTClient
from ketch.local.platform.supervisor import StartError
from ketch.local.program import collect_rarely, log_to_stderr, take_short_turns
from ketch.metadata.database import DatabaseUnusable
from ketch.pipelines.settings import SettingsError

LAST_PORT = 65535
DATABASE = "manager.db"


Cluster = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", metavar="FILE", help="The cluster [default: KUBECONFIG, ~/.kube/config, or the pod's own]."
    ),
]
Context = Annotated[str, typer.Option(help="Of the kubeconfig; its current one when left out.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Where the replicas' Lease, Secret and Service are.")]
LeaderElect = Annotated[bool, typer.Option(help="Act only while holding the Lease.")]
Bind = Annotated[str, typer.Option(help="The address of this machine to listen on.")]
APIPort = Annotated[int, typer.Option("--port", min=0, max=LAST_PORT, help="The pipelines' API.")]
SecurePort = Annotated[
    int, typer.Option(min=0, max=LAST_PORT, help="Webhooks and the jobs' status endpoint, with TLS.")
]
HealthPort = Annotated[int, typer.Option(min=0, max=LAST_PORT, help="/healthz, /readyz and /metrics.")]
Service = Annotated[str, typer.Option(help="The Service that leads here, for a manager inside the cluster.")]
Advertise = Annotated[
    str, typer.Option(metavar="HOST", help="How the cluster reaches this machine, for a manager outside of it.")
]
Webhooks = Annotated[
    bool, typer.Option(help="Register them; without, controllers refuse what they would have refused.")
]
DatabaseURL = Annotated[
    str,
    typer.Option(
        "--database", metavar="URL", envvar="KETCH_DATABASE_URL", help="[default: SQLite in the data directory]"
    ),
]
Objects = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The artifact directory of Ketch's nodes; without it, remote stores alone."),
]
Image = Annotated[str, typer.Option(help="With Ketch inside: carries artifacts between stores and steps.")]
Without = Annotated[list[Part] | None, typer.Option(OPTION, help="Leave a domain out.")]
DataDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where SQLite keeps its file [default: as for 'ketch up'].")
]


def manager(
    kubeconfig: Cluster = None,
    context: Context = "",
    namespace: Namespace = "kubeflow",
    leader_elect: LeaderElect = True,
    bind: Bind = "127.0.0.1",
    port: APIPort = PORT,
    secure_port: SecurePort = SECURE_PORT,
    health_port: HealthPort = HEALTH_PORT,
    service: Service = "",
    advertise: Advertise = "",
    webhooks: Webhooks = True,
    database: DatabaseURL = "",
    objects: Objects = None,
    image: Image = "",
    without: Without = None,
    data_dir: DataDir = None,
) -> None:
    """Run the controllers and APIs of pipelines and training against any API server."""
    if service and advertise:
        fail("--service is for a manager inside the cluster, --advertise for one outside: give one of them", USAGE)
    if objects is not None and not objects.expanduser().is_dir():
        fail(f"--objects {objects}: there is no such directory", USAGE)
    options = ManagerOptions(
        namespace=namespace,
        database=database or _sqlite(data_dir),
        leader_elect=leader_elect,
        bind=bind,
        port=port,
        secure_port=secure_port,
        health_port=health_port,
        service=service,
        advertise=advertise,
        webhooks=webhooks,
        objects=None if objects is None else objects.expanduser().absolute(),
        image=image,
        without=without or (),
    )
    try:
        config = load_config(None if kubeconfig is None else kubeconfig.expanduser(), context)
    except ConfigError as error:
        fail(str(error), USAGE)
    _run(config, options)


def _run(config: ClusterConfig, options: ManagerOptions) -> None:
    log_to_stderr()
    take_short_turns()
    collect_rarely()
    try:
        uvloop.run(_replica(config, options))
    except SettingsError as error:
        fail(str(error), USAGE)
    except LeadershipLost as error:
        fail(str(error), FAILED)
    except (DefinitionsMissing, DatabaseUnusable, StartError, APIError, TransportError, OSError) as error:
        fail(str(error), UNAVAILABLE)


def _sqlite(data_dir: Path | None) -> str:
    folder = data_directory(data_dir).root
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{folder / DATABASE}"


async def _replica(config: ClusterConfig, options: ManagerOptions) -> None:
    from ketch.cli.manager.replica import Replica  # noqa: PLC0415  # deferred: wrong usage is told at once

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = RESTClient(HTTPTransport(config, SYSTEM_CLOCK))
    try:
        await Replica(client, SYSTEM_CLOCK, options).run(stop)
    finally:
        await client.close()
