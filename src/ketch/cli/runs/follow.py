"""``ketch follow``: take up a run again."""

from typing import Annotated

import typer

from ketch.cli.options import DataDir
from ketch.cli.runs.following import Host, pipelines_api
from ketch.cli.runs.outcome import end_with_outcome
from ketch.cli.runs.references import Run, find_run


def follow(
    run: Run = "@latest",
    terminate: Annotated[bool, typer.Option("--terminate", help="End the run first.")] = False,
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Follow a run that was submitted before, the newest where none is named. Exit codes as of 'ketch run'."""
    with pipelines_api(host, data_dir) as api:
        run_id = find_run(api, run)
        if terminate:
            api.act(run_id, "terminate")
        end_with_outcome(api, run_id)
