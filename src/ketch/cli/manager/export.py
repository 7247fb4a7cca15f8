"""``ketch export``: print what installs Ketch on a cluster."""

from typing import Annotated

import typer

from ketch.cli.manager.manifests import Installation, manifests
from ketch.cli.messages import USAGE, fail


def export(
    image: Annotated[str, typer.Option(help="With Ketch inside: the manager's, and what carries artifacts.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where the manager is.")] = "kubeflow",
    replicas: Annotated[int, typer.Option(min=0, help="More than one need --database-secret.")] = 1,
    database_secret: Annotated[
        str, typer.Option(metavar="NAME", help="A Secret whose key url is the database's; else SQLite on a volume.")
    ] = "",
    storage: Annotated[str, typer.Option(metavar="QUANTITY", help="Size of that volume.")] = "10Gi",
) -> None:
    """Print manifests for a real cluster, for 'kubectl apply --server-side -f -'."""
    import yaml  # noqa: PLC0415  # deferred: needed here alone

    if replicas > 1 and not database_secret:
        fail("--replicas: SQLite on a volume is for one replica: name a database by --database-secret", USAGE)
    wanted = Installation(image, namespace, replicas, database_secret, storage)
    typer.echo(yaml.safe_dump_all(manifests(wanted), sort_keys=False), nl=False)
