"""How commands end: exit codes, and errors as one line on stderr that says what to do."""

from typing import NoReturn

import typer

DONE, FAILED, USAGE, UNAVAILABLE = 0, 1, 2, 3
INTERRUPTED = 130
"""What shells make of Ctrl-C."""


def fail(message: str, code: int) -> NoReturn:
    """Print ``message`` as the command's error and end it with ``code``."""
    typer.echo(f"ketch: {message}", err=True)
    raise typer.Exit(code)
