"""Options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated

import typer

from ketch.local.platform.directory import DataDirectory, default_data_directory

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the platform keeps its state [default: $KETCH_HOME or ~/.local/share/ketch].",
    ),
]


def data_directory(given: Path | None) -> DataDirectory:
    """The directory that ``--data-dir`` names, or the default one; absolute."""
    return DataDirectory((given or default_data_directory()).expanduser().absolute())
