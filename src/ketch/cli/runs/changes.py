"""``ketch runs retry``, ``terminate``, ``archive``, ``unarchive``, ``delete``: what changes runs."""

from typing import Annotated
from urllib.parse import quote

import typer

from ketch.cli.messages import FAILED, USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.runs.api import APINotFound, APIRefused, PipelinesAPI
from ketch.cli.runs.following import Host, pipelines_api
from ketch.cli.runs.outcome import end_with_outcome
from ketch.cli.runs.references import Run, find_run
from ketch.cli.runs.steps import ENDED

Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: ids or their beginnings, names, or @latest.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def retry(
    run: Run,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the run.")] = False,
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Run a failed or terminated run's unfinished steps again, and follow it. Exit codes as of 'ketch run'."""
    with pipelines_api(host, data_dir) as api:
        run_id = find_run(api, run)
        api.act(run_id, "retry")
        if detach:
            typer.echo(f"run {run_id} goes on")
        else:
            end_with_outcome(api, run_id)


def terminate(runs: Runs, host: Host = "", data_dir: DataDir = None) -> None:
    """End runs: their steps are ended, what has succeeded stays."""
    with pipelines_api(host, data_dir) as api:
        _each(api, runs, "terminate", "is being terminated")


def archive(runs: Runs, host: Host = "", data_dir: DataDir = None) -> None:
    """Put runs away: 'ketch runs ls' shows them with --archived only."""
    with pipelines_api(host, data_dir) as api:
        _each(api, runs, "archive", "archived")


def unarchive(runs: Runs, host: Host = "", data_dir: DataDir = None) -> None:
    """Take runs out of the archive."""
    with pipelines_api(host, data_dir) as api:
        _each(api, runs, "unarchive", "taken out of the archive")


def delete(runs: Runs, yes: Yes = False, host: Host = "", data_dir: DataDir = None) -> None:
    """Remove runs with their steps and logs; the artifacts they made stay. Asks first on a terminal."""
    with pipelines_api(host, data_dir) as api:
        for run_id in [find_run(api, words) for words in runs]:
            found = api.get_run(run_id)
            if found.get("state") not in ENDED:
                fail(f"run {run_id} has not ended: end it first with 'ketch runs terminate {run_id}'", USAGE)
            if not yes and not typer.confirm(f"delete run {found.get('display_name', '')} ({run_id})?"):
                raise typer.Exit(FAILED)
            try:
                api.call("DELETE", f"/runs/{quote(run_id, safe='')}")
            except APINotFound:
                continue  # somebody else was quicker
            typer.echo(f"run {run_id} deleted")


def _each(api: PipelinesAPI, runs: list[str], verb: str, done: str) -> None:
    """``verb`` on every one of them; those that refuse are told at the end and fail the command."""
    refused: list[str] = []
    for run_id in [find_run(api, words) for words in runs]:
        try:
            api.act(run_id, verb)
        except APIRefused as error:
            refused.append(str(error))
        else:
            typer.echo(f"run {run_id} {done}")
    if refused:
        fail("\n".join(refused), FAILED)
