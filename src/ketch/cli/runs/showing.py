"""``ketch runs show`` and ``open``: all there is to know of one run."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from ketch.cli.messages import USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.runs.document import as_json, values_of
from ketch.cli.runs.following import Host, painted, pipelines_api
from ketch.cli.runs.references import Run, find_run, find_step
from ketch.cli.runs.steps import Step, every_step, failures, message_of, moment, part, steps_of, worked
from ketch.cli.runs.tree import FOLDS, INDENT, columns, heading, lines_of, width_of

FORMS: Final = ("text", "json")
LONGEST_VALUE: Final = 100
"""Characters of a value that are shown; JSON has all of them."""

LONGEST_ERROR: Final = 15
"""Lines of an error."""


def show(
    run: Run = "@latest",
    step: Annotated[str, typer.Argument(help="Only this step: its path, name or id.")] = "",
    all_iterations: Annotated[bool, typer.Option("--all", help="Every iteration of every loop.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FORM", help="text or json.")] = "text",
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Show a run: its steps, what went in and came out, where its artifacts are, what went wrong."""
    if output not in FORMS:
        fail(f"-o {output}: there are {', '.join(FORMS)}", USAGE)
    with pipelines_api(host, data_dir) as api:
        run_id = find_run(api, run)
        found, natives = api.get_run(run_id), {task["task_id"]: task for task in api.tasks(run_id)}
        experiment = api.call("GET", f"/experiments/{found['experiment_id']}").get("display_name", "")
    steps = steps_of(found, natives)
    if step:
        steps = (find_step(steps, step),)
    if output == "json":
        typer.echo(json.dumps(as_json(found, steps, natives), indent=1))
        return
    for line in _head(found, experiment) if not step else ():
        typer.echo(line)
    _print_tree(found, steps, None if all_iterations else FOLDS[0])
    chosen = list(every_step(steps)) if all_iterations or step else _shown(steps)
    for line in (*_values(chosen, natives), *_errors(found, steps)):
        typer.echo(line)


def open_run(
    run: Run = "@latest",
    browser: Annotated[bool, typer.Option("--browser/--print", help="Open it in a browser, or only print it.")] = True,
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Print where a run is on the web, and open it in a browser if there is one."""
    with pipelines_api(host, data_dir) as api:
        address = f"{api.host}/#/runs/details/{find_run(api, run)}"
    typer.echo(address)
    if browser and sys.stdout.isatty():
        typer.launch(address)


def _head(run: Mapping[str, Any], experiment: str) -> Iterator[str]:
    created, ended = moment(run.get("created_at")), moment(run.get("finished_at"))
    spec = part(run, "pipeline_spec")
    spec = part(spec, "pipeline_spec") or spec
    about: dict[str, Any] = {
        "run": run.get("run_id", ""),
        "pipeline": part(spec, "pipelineInfo").get("name", ""),
        "experiment": experiment,
        "created": created and f"{created.astimezone():%Y-%m-%d %H:%M:%S}",
        "finished": ended and f"{ended.astimezone():%Y-%m-%d %H:%M:%S}",
        "recurring run": run.get("recurring_run_id", ""),
        "archived": "yes" if run.get("storage_state") == "ARCHIVED" else "",
    }
    yield from (f"{name:<14} {value}" for name, value in about.items() if value)
    if parameters := part(run, "runtime_config").get("parameters"):
        yield "parameters"
        width = max(map(len, parameters))
        yield from (f"{INDENT}{name:<{width}}  {_short(value)}" for name, value in parameters.items())
    yield ""


def _print_tree(run: Mapping[str, Any], steps: Sequence[Step], fold: int | None) -> None:
    now = datetime.now(UTC)
    lines = lines_of(steps, now, fold)
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415  # deferred: only a terminal has colours

        Console().print(painted(heading(run, now), lines), no_wrap=True, overflow="ellipsis", crop=True)
        return
    width = width_of(lines)
    typer.echo(heading(run, now))
    for line in lines:
        typer.echo(f"{INDENT}{line.sign} {columns(line, width)}")


def _shown(steps: Sequence[Step]) -> Sequence[Step]:
    """The steps whose values are told: all but those of folded iterations."""
    kept = {line.path for line in lines_of(steps, datetime.now(UTC), FOLDS[0])}
    return [step for step in every_step(steps) if step.path in kept]


def _values(steps: Sequence[Step], natives: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    leaves = {step.id for step in worked(steps)}
    for step in steps:
        if step.id not in leaves or step.id not in natives:
            continue
        lines = [
            f"{INDENT}{sign} {line}"
            for side, sign in (("inputs", "←"), ("outputs", "→"))
            for line in _lines(values_of(natives[step.id], side), with_metadata=side == "outputs")
        ]
        if lines:
            yield f"\n{step.path}"
            yield from lines


def _lines(values: Iterator[tuple[str, Any, Sequence[Mapping[str, Any]]]], *, with_metadata: bool) -> Iterator[str]:
    for name, value, artifacts in values:
        if not artifacts:
            yield f"{name} = {_short(value)}"
        for artifact in artifacts:
            yield f"{name}: {artifact.get('type', 'Artifact')} {artifact.get('uri', '')}".rstrip()
            if with_metadata:
                yield from (f"{INDENT}{key} = {_short(each)}" for key, each in part(artifact, "metadata").items())


def _errors(run: Mapping[str, Any], steps: Sequence[Step]) -> Iterator[str]:
    failed = failures(steps)
    for step in failed:
        yield f"\n✗ {step.path}: {step.reason}"
        yield from (f"{INDENT}│ {line}" for line in step.error.splitlines()[:LONGEST_ERROR])
    if not failed and (message := message_of(run)):
        yield f"\n✗ {message}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\n", "⏎")
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text):,} characters)"
