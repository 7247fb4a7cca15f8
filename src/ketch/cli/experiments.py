"""``ketch experiments ls``: the groups that runs belong to."""

import json
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer

from ketch.cli.messages import USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.runs.api import PAGE_SIZE
from ketch.cli.runs.following import Host, pipelines_api
from ketch.cli.runs.steps import moment
from ketch.cli.runs.table import age, table

FORMS = ("table", "name", "json")


def ls(
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many at most, newest first.")] = 20,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FORM", help="One of table, name, json.")] = "table",
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """List experiments, newest first."""
    if output not in FORMS:
        fail(f"-o {output}: there are {', '.join(FORMS)}", USAGE)
    with pipelines_api(host, data_dir) as api:
        pages = api.pages("/experiments", "experiments", {"sort_by": "created_at desc"}, min(number, PAGE_SIZE))
        found = list(islice(pages, number))
    if output == "json":
        typer.echo(json.dumps(found, indent=1))
        return
    if output == "name":
        for each in found:
            typer.echo(each["display_name"])
        return
    now = datetime.now(UTC)
    rows = [
        (
            each["experiment_id"],
            each["display_name"],
            age(moment(each.get("created_at")), now),
            age(moment(each.get("last_run_created_at")), now) or "-",
            each.get("description", ""),
        )
        for each in found
    ]
    for line in table(("EXPERIMENT", "NAME", "CREATED", "LAST RUN", "DESCRIPTION"), rows):
        typer.echo(line)
