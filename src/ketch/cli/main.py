"""The ``ketch`` command: each subcommand is a function of its own module, imported when it is asked for.

So ``ketch up`` does not load what only ``ketch run`` needs: an HTTP client, YAML (a tenth of a second, 8 MiB).
"""

from collections import UserDict
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

MODULES = {
    "up": "ketch.cli.up",
    "down": "ketch.cli.up",
    "status": "ketch.cli.status",
    "doctor": "ketch.cli.doctor",
    "logs": "ketch.cli.status",
    "run": "ketch.cli.run",
    "follow": "ketch.cli.follow",
}
"""Where the function of each subcommand is, in the order in which help lists them."""


class _Subcommands(UserDict[str, Any]):
    """The subcommands by name, made when they are asked for."""

    def __getitem__(self, name: str) -> Any:
        command = typer.Typer(add_completion=False, rich_markup_mode=None)
        command.command()(getattr(import_module(super().__getitem__(name)), name))
        return get_command(command)


class _Group(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Subcommands(MODULES)


application = typer.Typer(
    cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@application.callback()
def ketch() -> None:
    """Kubeflow's APIs on one machine in a second, and on Kubernetes with the same controllers."""


def main() -> None:
    """Run the command line."""
    application()


if __name__ == "__main__":
    main()
