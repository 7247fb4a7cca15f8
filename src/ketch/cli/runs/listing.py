"""``ketch runs ls``: which runs there are."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final

import typer

from ketch.cli.messages import USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.runs.api import PAGE_SIZE, PipelinesAPI, predicates
from ketch.cli.runs.following import Host, pipelines_api
from ketch.cli.runs.references import SHORT
from ketch.cli.runs.steps import in_one_line, message_of, moment
from ketch.cli.runs.table import age, table
from ketch.cli.runs.tree import SIGNS, took

STATES: Final = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELING", "CANCELED", "SKIPPED")
OUTPUTS: Final = ("table", "wide", "name", "json")

State = Annotated[
    list[str] | None,
    typer.Option("--state", "-s", metavar="STATE", help=f"Only in this state: {', '.join(STATES).lower()}."),
]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FORM", help=f"One of {', '.join(OUTPUTS)}.")]
Limit = Annotated[int, typer.Option("--number", "-n", min=1, help="How many at most, newest first.")]


def ls(
    name: Annotated[str, typer.Argument(help="Only runs with this in their name.")] = "",
    state: State = None,
    experiment: Annotated[str, typer.Option(help="Only runs of this experiment.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Those in the archive instead of the others.")] = False,
    number: Limit = 20,
    output: Output = "table",
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """List runs, newest first."""
    if output not in OUTPUTS:
        fail(f"-o {output}: there are {', '.join(OUTPUTS)}", USAGE)
    query = _query(name, state or (), archived=archived)
    with pipelines_api(host, data_dir) as api:
        if experiment:
            query["experiment_id"] = _experiment(api, experiment)
        runs = list(islice(api.pages("/runs", "runs", query, min(number, PAGE_SIZE)), number))
        experiments = _experiments(api, runs if output == "wide" else ())
    _print(runs, experiments, output)


def _query(name: str, states: Iterable[str], *, archived: bool) -> dict[str, str]:
    wanted = [state.upper() for state in states]
    if unknown := [state for state in wanted if state not in STATES]:
        fail(f"no run is ever {unknown[0].lower()!r}: states are {', '.join(STATES).lower()}", USAGE)
    conditions: list[tuple[str, str, str, Any]] = [
        ("EQUALS", "storage_state", "string_value", "ARCHIVED" if archived else "AVAILABLE")
    ]
    if wanted:
        conditions.append(("IN", "state", "string_values", {"values": wanted}))
    if name:
        conditions.append(("IS_SUBSTRING", "display_name", "string_value", name))
    return {"sort_by": "created_at desc", "filter": predicates(*conditions)}


def _experiment(api: PipelinesAPI, name: str) -> str:
    found = api.find_experiment(name)
    return str(found["experiment_id"]) if found else fail(f"there is no experiment {name!r}", USAGE)


def _experiments(api: PipelinesAPI, runs: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """The names of the runs' experiments."""
    wanted = {run.get("experiment_id", "") for run in runs}
    return {identity: api.call("GET", f"/experiments/{identity}").get("display_name", "") for identity in wanted}


def _print(runs: Sequence[Mapping[str, Any]], experiments: Mapping[str, str], output: str) -> None:
    if output == "json":
        hidden = ("pipeline_spec", "state_history")
        typer.echo(json.dumps([{k: v for k, v in run.items() if k not in hidden} for run in runs], indent=1))
    elif output == "name":
        for run in runs:
            typer.echo(run["run_id"])
    elif not runs:
        typer.echo("no runs", err=True)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in rows(runs, datetime.now(UTC), experiments, wide=output == "wide", width=width):
            typer.echo(line)


def rows(
    runs: Sequence[Mapping[str, Any]],
    now: datetime,
    experiments: Mapping[str, str],
    *,
    wide: bool,
    width: int | None = None,
) -> Sequence[str]:
    """The table of runs."""
    headings = ["RUN", "STATE", "NAME", "CREATED", "TOOK"] + (["EXPERIMENT", "ERROR"] if wide else [])
    cells: list[list[str]] = []
    for run in runs:
        created, ended, state = moment(run.get("created_at")), moment(run.get("finished_at")), run.get("state", "")
        row = [
            run["run_id"] if wide else run["run_id"][:SHORT],
            f"{SIGNS.get(state, '·')} {state}",
            str(run.get("display_name", "")),
            age(created, now),
            took(created, ended or now),
        ]
        if wide:
            row += [experiments.get(run.get("experiment_id", ""), ""), in_one_line(message_of(run))]
        cells.append(row)
    return table(headings, cells, width)
