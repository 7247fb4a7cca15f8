"""``ketch run``: submit a pipeline, follow it, and end with its outcome."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ketch.cli.compilation import CompilationError, load_pipeline
from ketch.cli.messages import FAILED, UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir, data_directory
from ketch.cli.pipelines_api import FINISHED, APIRefused, APIUnreachable, PipelinesAPI
from ketch.local.platform.record import running_platform

DEFAULT_HOST = "http://localhost:8080"
LOOK_AGAIN_AFTER = 0.2
SIGNS = {"SUCCEEDED": "✓", "FAILED": "✗", "RUNNING": "●", "SKIPPED": "-", "CANCELED": "✗", "CANCELING": "●"}
EPOCH = "1970-01-01"


def parse_parameters(given: Sequence[str]) -> dict[str, Any]:
    """``key=value`` texts as run parameters: a value that is JSON is taken as JSON, anything else as text.

    Raises ValueError naming the text without ``=``.
    """
    parameters: dict[str, Any] = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ValueError(f"-p takes key=value, not {text!r}")
        try:
            parameters[key] = json.loads(value)
        except json.JSONDecodeError:
            parameters[key] = value
    return parameters


def typed_parameters(parameters: Mapping[str, Any], pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that the pipeline declares as text stay the text that was typed, even when it looks like JSON."""
    spec = pipeline.get("pipeline_spec", pipeline)
    declared = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})

    def typed(name: str, value: Any) -> Any:
        is_text = declared.get(name, {}).get("parameterType") == "STRING"
        return value if isinstance(value, str) or not is_text else json.dumps(value)

    return {name: typed(name, value) for name, value in parameters.items()}


def _moment(text: str | None) -> datetime | None:
    return None if not text or text.startswith(EPOCH) else datetime.fromisoformat(text)


def _seconds(task: Mapping[str, Any], now: datetime) -> str:
    started, ended = _moment(task.get("start_time")), _moment(task.get("end_time"))
    if started is None:
        return ""
    return f"{max(0.0, ((ended or now) - started).total_seconds()):.1f} s"


def progress_lines(run: Mapping[str, Any], now: datetime) -> list[str]:
    """The run and its tasks as text, one line each, in the order in which they began."""
    tasks = run.get("run_details", {}).get("task_details", [])
    width = max((len(task.get("display_name", "")) for task in tasks), default=0)
    lines = [f"{run.get('display_name', '')}  {run.get('state', 'PENDING')}"]
    for task in sorted(tasks, key=lambda item: item.get("create_time", "")):
        state = task.get("state", "PENDING")
        sign, name = SIGNS.get(state, "·"), task.get("display_name", "")
        lines.append(f"  {sign} {name:<{width}}  {state:<9} {_seconds(task, now)}".rstrip())
    return lines


def failure_text(run: Mapping[str, Any]) -> str:
    """Why the run failed: the error of every failed step, else the run's own."""
    tasks = run.get("run_details", {}).get("task_details", [])
    errors = [
        f"{task.get('display_name')}: {task['error'].get('message', '').strip()}"
        for task in tasks
        if task.get("state") == "FAILED" and task.get("error")
    ]
    return "\n".join(errors) or run.get("error", {}).get("message", "")


def _follow(api: PipelinesAPI, run_id: str, show: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
    while True:
        run = api.get_run(run_id)
        show(run)
        if run.get("state") in FINISHED:
            return run
        time.sleep(LOOK_AGAIN_AFTER)


def _follow_on_terminal(api: PipelinesAPI, run_id: str) -> Mapping[str, Any]:
    from rich.live import Live  # noqa: PLC0415  # deferred: only a terminal shows live progress
    from rich.text import Text  # noqa: PLC0415

    with Live(auto_refresh=False) as live:

        def show(run: Mapping[str, Any]) -> None:
            live.update(Text("\n".join(progress_lines(run, datetime.now(UTC)))), refresh=True)

        return _follow(api, run_id, show)


def _follow_plainly(api: PipelinesAPI, run_id: str) -> Mapping[str, Any]:
    """For pipes and logs: each change of a task is a line."""
    seen: set[str] = set()

    def show(run: Mapping[str, Any]) -> None:
        for line in progress_lines(run, datetime.now(UTC))[1:]:
            name_and_state = " ".join(line.split()[:3])
            if name_and_state not in seen:
                seen.add(name_and_state)
                typer.echo(line)

    return _follow(api, run_id, show)


def _host(given: str, data_dir: Path | None) -> str:
    if given:
        return given
    platform = running_platform(data_directory(data_dir))
    return platform.platform if platform else DEFAULT_HOST


def run(
    pipeline: Annotated[Path, typer.Argument(help="A .py that defines a @dsl.pipeline, or a compiled .yaml.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="A parameter.")
    ] = None,
    experiment: Annotated[str, typer.Option(help="The experiment that the run belongs to.")] = "Default",
    name: Annotated[str, typer.Option(help="The run's display name.")] = "",
    function: Annotated[str, typer.Option("--pipeline", help="Which pipeline of a file that defines several.")] = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step, whatever ran before.")] = False,
    host: Annotated[str, typer.Option(help="Another platform's address.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Submit a pipeline and follow it. Exit code 0: succeeded; 1: failed; 2: no pipeline; 3: no platform."""
    try:
        parameters = parse_parameters(parameter or [])
        spec = load_pipeline(pipeline, function)
    except (ValueError, CompilationError) as error:
        fail(str(error), USAGE)
    if no_cache:
        disable_caching(spec)
    with PipelinesAPI(_host(host, data_dir)) as api:
        try:
            submitted = api.create_run(
                {
                    "display_name": name or f"{pipeline.stem} {datetime.now().astimezone():%Y-%m-%d %H-%M-%S}",
                    "experiment_id": api.experiment_id(experiment),
                    "pipeline_spec": spec,
                    "runtime_config": {"parameters": typed_parameters(parameters, spec)},
                }
            )
            run_id = submitted["run_id"]
            typer.echo(f"{api.host}/#/runs/details/{run_id}")
            follow = _follow_on_terminal if sys.stdout.isatty() else _follow_plainly
            outcome = follow(api, run_id)
        except APIRefused as error:
            fail(str(error), USAGE)
        except APIUnreachable as error:
            fail(str(error), UNAVAILABLE)
    if outcome.get("state") != "SUCCEEDED":
        fail(f"run {run_id} {outcome.get('state', '').lower()}\n{failure_text(outcome)}".rstrip(), FAILED)
    typer.echo(f"run {run_id} succeeded")


def disable_caching(spec: dict[str, Any]) -> None:
    """Switch caching off for every task of every DAG in ``spec``."""
    document = spec.get("pipeline_spec", spec)
    components = [document.get("root", {}), *document.get("components", {}).values()]
    for component in components:
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}
