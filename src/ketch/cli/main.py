"""The ``ketch`` command: each subcommand is a function of its own module, imported when it is asked for.

So ``ketch up`` does not load what only ``ketch run`` needs: YAML, the tree of steps.
"""

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command


class Family(NamedTuple):
    """Commands below one word: where the function of each is."""

    help: str
    commands: Mapping[str, str]


COMMANDS: Final[Mapping[str, str | Family]] = {
    "up": "ketch.cli.up:up",
    "down": "ketch.cli.up:down",
    "node": "ketch.cli.node:node",
    "manager": "ketch.cli.manager.command:manager",
    "export": "ketch.cli.manager.export:export",
    "status": "ketch.cli.status:status",
    "doctor": "ketch.cli.doctor:doctor",
    "logs": "ketch.cli.status:logs",
    "run": "ketch.cli.submission.run:run",
    "follow": "ketch.cli.runs.follow:follow",
    "runs": Family(
        "Look at runs and change them. RUN is an id, the beginning of one, a name, or @latest.",
        {
            "ls": "ketch.cli.runs.listing:ls",
            "show": "ketch.cli.runs.showing:show",
            "logs": "ketch.cli.runs.logs:logs",
            "debug": "ketch.cli.debugging.command:debug",
            "retry": "ketch.cli.runs.changes:retry",
            "terminate": "ketch.cli.runs.changes:terminate",
            "archive": "ketch.cli.runs.changes:archive",
            "unarchive": "ketch.cli.runs.changes:unarchive",
            "delete": "ketch.cli.runs.changes:delete",
            "open": "ketch.cli.runs.showing:open_run",
        },
    ),
    "train": "ketch.cli.training.train:train",
    "jobs": Family(
        "Look at training jobs and change them. JOB is a name, or kind/name where several have it.",
        {
            "ls": "ketch.cli.training.commands:ls",
            "show": "ketch.cli.training.commands:show",
            "logs": "ketch.cli.training.commands:logs",
            "suspend": "ketch.cli.training.commands:suspend",
            "resume": "ketch.cli.training.commands:resume",
            "delete": "ketch.cli.training.commands:delete",
        },
    ),
    "image": Family(
        "What image names mean on this machine: images that are kept here, and names mapped to environments.",
        {
            "ls": "ketch.cli.images.listing:ls",
            "import": "ketch.cli.images.getting:import_",
            "pull": "ketch.cli.images.getting:pull",
            "map": "ketch.cli.images.getting:map_",
            "rm": "ketch.cli.images.removing:rm",
            "prune": "ketch.cli.images.removing:prune",
        },
    ),
    "experiments": Family("Groups of runs.", {"ls": "ketch.cli.experiments:ls"}),
    "recurring": Family(
        "Runs that start by the clock.",
        {
            "ls": "ketch.cli.submission.recurring:ls",
            "create": "ketch.cli.submission.recurring:create",
            "enable": "ketch.cli.submission.recurring:enable",
            "disable": "ketch.cli.submission.recurring:disable",
            "delete": "ketch.cli.submission.recurring:delete",
        },
    ),
}
"""Where the function of each subcommand is, in the order in which help lists them."""


class _Subcommands(UserDict[str, Any]):
    """The subcommands by name, made when they are asked for."""

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, Family):
            return _LazyGroup(name=name, help=found.help, commands=_Subcommands(found.commands), no_args_is_help=True)
        module, _, function = found.partition(":")
        command = typer.Typer(add_completion=False, rich_markup_mode=None)
        command.command(name)(getattr(import_module(module), function))
        return get_command(command)


class _LazyGroup(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        commands = settings.pop("commands", None)
        super().__init__(rich_markup_mode=None, **{k: v for k, v in settings.items() if k != "rich_markup_mode"})
        self.commands = commands if isinstance(commands, _Subcommands) else _Subcommands(COMMANDS)


application = typer.Typer(
    cls=_LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@application.callback()
def ketch() -> None:
    """Kubeflow's APIs on one machine in a second, and on Kubernetes with the same controllers."""


def main() -> None:
    """Run the command line."""
    application()


if __name__ == "__main__":
    main()
