"""The ``ketch`` command: each subcommand is a function of its own module."""

import typer

from ketch.cli.doctor import doctor
from ketch.cli.follow import follow
from ketch.cli.run import run
from ketch.cli.status import logs, status
from ketch.cli.up import down, up

application = typer.Typer(
    name="ketch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Kubeflow's APIs on one machine in a second, and on Kubernetes with the same controllers.",
)
application.command()(up)
application.command()(down)
application.command()(status)
application.command()(doctor)
application.command()(logs)
application.command()(run)
application.command()(follow)


def main() -> None:
    """Run the command line."""
    application()


if __name__ == "__main__":
    main()
