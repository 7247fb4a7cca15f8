"""``ketch recurring``: runs that start by the clock."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from ketch.cli.messages import USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.runs.api import PipelinesAPI
from ketch.cli.runs.following import Host, pipelines_api
from ketch.cli.runs.steps import moment, part
from ketch.cli.runs.table import age, table
from ketch.cli.submission.compilation import CompilationError
from ketch.cli.submission.parameters import ParameterProblem
from ketch.cli.submission.run import Experiment, File, Function, NoCache, Parameters, ServiceAccount, Wish, name_of

Which = Annotated[str, typer.Argument(metavar="RECURRING", help="Its id, the beginning of one, or its name.")]

FORMS: Final = ("table", "name", "json")
ENABLED: Final = "ENABLED"
SHORT: Final = 8

_UNITS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INTERVAL = re.compile(r"(\d+)\s*([smhd]?)")


def ls(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FORM", help="One of table, name, json.")] = "table",
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """List recurring runs, newest first."""
    if output not in FORMS:
        fail(f"-o {output}: there are {', '.join(FORMS)}", USAGE)
    with pipelines_api(host, data_dir) as api:
        found = list(api.pages("/recurringruns", "recurringRuns", {"sort_by": "created_at desc"}))
    if output == "json":
        typer.echo(json.dumps([{k: v for k, v in each.items() if k != "pipeline_spec"} for each in found], indent=1))
    elif output == "name":
        for each in found:
            typer.echo(each["recurring_run_id"])
    elif not found:
        typer.echo("no recurring runs", err=True)
    else:
        now = datetime.now(UTC)
        rows = [
            (
                each["recurring_run_id"][:SHORT],
                each.get("display_name", ""),
                each.get("status", "").lower(),
                schedule_in_words(part(each, "trigger")),
                age(moment(each.get("created_at")), now),
            )
            for each in found
        ]
        for line in table(("RECURRING", "NAME", "STATUS", "SCHEDULE", "CREATED"), rows):
            typer.echo(line)


def create(
    pipeline: File,
    cron: Annotated[
        str, typer.Option(help="When, as cron has it, with seconds first: '0 0 6 * * *' is every day at six.")
    ] = "",
    every: Annotated[str, typer.Option(metavar="PERIOD", help="How often: 90, 90s, 15m, 6h, 1d.")] = "",
    parameter: Parameters = None,
    experiment: Experiment = "Default",
    name: Annotated[str, typer.Option(help="Its display name [default: that of the pipeline].")] = "",
    function: Function = "",
    no_cache: NoCache = False,
    service_account: ServiceAccount = "",
    concurrency: Annotated[int, typer.Option(min=1, max=10, help="Runs of it at the same time.")] = 1,
    catch_up: Annotated[
        bool, typer.Option("--catch-up/--no-catch-up", help="Whether runs that were missed are made up for.")
    ] = True,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not start with it yet.")] = False,
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Run a pipeline by the clock: by --cron, or --every so often. Prints its id."""
    if bool(cron) == bool(every):
        fail("say when: either --cron or --every", USAGE)
    trigger = {"cron_schedule": {"cron": cron}} if cron else {"periodic_schedule": {"interval_second": seconds(every)}}
    wish = Wish(pipeline, function, parameter or (), name, experiment, service_account, no_cache)
    try:
        request = wish.request()
    except (ParameterProblem, CompilationError) as error:
        fail(str(error), USAGE)
    schedule = {
        "display_name": name or name_of(request["pipeline_spec"], pipeline),
        "trigger": trigger,
        "mode": "DISABLE" if disabled else "ENABLE",
        "max_concurrency": str(concurrency),
        "no_catchup": not catch_up,
    }
    with pipelines_api(host, data_dir) as api:
        body = {**request, **schedule, "experiment_id": api.experiment_id(experiment)}
        typer.echo(api.call("POST", "/recurringruns", body=body)["recurring_run_id"])


def enable(which: Which, host: Host = "", data_dir: DataDir = None) -> None:
    """Let a recurring run start its runs."""
    _act(which, "enable", "enabled", host, data_dir)


def disable(which: Which, host: Host = "", data_dir: DataDir = None) -> None:
    """Let a recurring run start no more runs; those that have begun go on."""
    _act(which, "disable", "disabled", host, data_dir)


def delete(which: Which, host: Host = "", data_dir: DataDir = None) -> None:
    """Remove a recurring run; the runs that it has started stay."""
    with pipelines_api(host, data_dir) as api:
        identity = _find(api, which)
        api.call("DELETE", f"/recurringruns/{quote(identity, safe='')}")
        typer.echo(f"recurring run {identity} deleted")


def seconds(period: str) -> str:
    """A period in seconds, as the API wants the number; ends the command where it is none."""
    found = _INTERVAL.fullmatch(period.strip())
    if found is None or int(found[1]) == 0:
        fail(f"--every takes a period like 90s, 15m, 6h or 1d, not {period!r}", USAGE)
    return str(int(found[1]) * _UNITS[found[2] or "s"])


def schedule_in_words(trigger: Mapping[str, Any]) -> str:
    """``cron 0 0 6 * * *``, ``every 15 m``."""
    if cron := trigger.get("cron_schedule"):
        return f"cron {cron.get('cron', '')}"
    number = int(part(trigger, "periodic_schedule").get("interval_second", 0))
    if not number:
        return ""
    size, unit = next((size, unit) for unit, size in reversed(_UNITS.items()) if number % size == 0)
    return f"every {number // size} {unit}"


def _act(which: str, verb: str, done: str, host: str, data_dir: Any) -> None:
    with pipelines_api(host, data_dir) as api:
        identity = _find(api, which)
        api.call("POST", f"/recurringruns/{quote(identity, safe='')}:{verb}")
        typer.echo(f"recurring run {identity} {done}")


def _find(api: PipelinesAPI, words: str) -> str:
    every = list(api.pages("/recurringruns", "recurringRuns", {"sort_by": "created_at desc"}))
    for meant in (
        [each for each in every if words in (each["recurring_run_id"], each.get("display_name", ""))],
        [each for each in every if words and each["recurring_run_id"].startswith(words)],
    ):
        if len(meant) > 1:
            ids = "\n  ".join(f"{each['recurring_run_id']}  {each.get('display_name', '')}" for each in meant)
            fail(f"several recurring runs are meant by {words!r}; name one by its id:\n  {ids}", USAGE)
        if meant:
            return str(meant[0]["recurring_run_id"])
    return fail(f"there is no recurring run {words!r}: see 'ketch recurring ls'", USAGE)
