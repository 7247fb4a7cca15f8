"""``ketch run``: submit a pipeline, follow it, and end with its outcome."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ketch.cli.messages import INTERRUPTED, USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.runs.api import FINISHED, APIRefused, PipelinesAPI
from ketch.cli.runs.following import Host, pipelines_api
from ketch.cli.runs.outcome import end_with_outcome
from ketch.cli.runs.steps import part
from ketch.cli.submission.compilation import CompilationError, load_pipeline
from ketch.cli.submission.parameters import ParameterProblem, parameters_of
from ketch.cli.submission.watching import Watch

FORMS: Final = ("text", "json")

File = Annotated[Path, typer.Argument(help="A .py that defines a @dsl.pipeline, or a compiled .yaml.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param", "-p", metavar="KEY=VALUE", help="A parameter, in its declared type; lists and objects as JSON."
    ),
]
Experiment = Annotated[str, typer.Option(help="The experiment that it belongs to; made if there is none.")]
Function = Annotated[str, typer.Option("--pipeline", metavar="NAME", help="Which pipeline of a file that has several.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Run every step, whatever ran before.")]
ServiceAccount = Annotated[str, typer.Option(metavar="NAME", help="The steps' Kubernetes service account.")]


@dataclass(frozen=True)
class Wish:
    """What is to be submitted, as it was typed."""

    path: Path
    function: str
    parameters: Sequence[str]
    name: str
    experiment: str
    service_account: str
    no_cache: bool

    def request(self) -> dict[str, Any]:
        """The run to create. Raises CompilationError, ParameterProblem."""
        spec = load_pipeline(self.path, self.function)
        if self.no_cache:
            disable_caching(spec)
        return {
            "display_name": self.name or f"{name_of(spec, self.path)} {datetime.now().astimezone():%Y-%m-%d %H-%M-%S}",
            "pipeline_spec": spec,
            "runtime_config": {"parameters": parameters_of(self.parameters, spec)},
            **({"service_account": self.service_account} if self.service_account else {}),
        }

    def submit(self, api: PipelinesAPI, request: dict[str, Any]) -> str:
        """Create the run: its id."""
        return str(api.create_run({**request, "experiment_id": api.experiment_id(self.experiment)})["run_id"])


def run(
    pipeline: File,
    parameter: Parameters = None,
    experiment: Experiment = "Default",
    name: Annotated[str, typer.Option(help="The run's display name.")] = "",
    function: Function = "",
    no_cache: NoCache = False,
    service_account: ServiceAccount = "",
    detach: Annotated[bool, typer.Option("--detach", help="Submit only; print the run's id.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Submit again whenever the file changes.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FORM", help="text or json.")] = "text",
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Submit a pipeline and follow it.

    Exit code 0: succeeded; 1: failed; 2: no such pipeline or parameter; 3: no platform; 130: no longer followed
    (Ctrl-C), the run goes on.
    """
    if output not in FORMS:
        fail(f"-o {output}: there are {', '.join(FORMS)}", USAGE)
    if watch and (detach or output == "json"):
        fail("--watch follows its runs on the terminal: leave out --detach and -o json", USAGE)
    wish = Wish(pipeline, function, parameter or (), name, experiment, service_account, no_cache)
    if watch:
        _watch(wish, host, data_dir)
    try:
        request = wish.request()
    except (ParameterProblem, CompilationError) as error:
        fail(str(error), USAGE)
    with pipelines_api(host, data_dir) as api:
        run_id = wish.submit(api, request)
        if not detach:
            end_with_outcome(api, run_id, json_output=output == "json")
        elif output == "json":
            typer.echo(json.dumps({"run_id": run_id}))
        else:
            typer.echo(run_id)


def _watch(wish: Wish, host: str, data_dir: Path | None) -> None:
    """Submit, and again at every change; a run that is overtaken is ended. Until Ctrl-C."""
    watch = Watch(wish.path)
    try:
        while True:
            watch.renew()
            run_id = ""
            try:
                request = wish.request()
                with pipelines_api(host, data_dir) as api:
                    run_id = wish.submit(api, request)
                    if not end_with_outcome(api, run_id, interrupted=watch.changed):
                        _overtaken(api, run_id)
                        continue
            except (ParameterProblem, CompilationError) as error:
                typer.echo(f"ketch: {error}", err=True)
            except typer.Exit as end:  # a run that failed is no reason to stop
                if end.exit_code == INTERRUPTED:
                    raise
            typer.echo(f"waiting for {wish.path} to change (Ctrl-C ends this)")
            watch.wait()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _overtaken(api: PipelinesAPI, run_id: str) -> None:
    typer.echo(f"the file has changed: run {run_id} is ended, a new one begins")
    try:
        api.act(run_id, "terminate")
    except APIRefused:
        if api.get_run(run_id).get("state") not in FINISHED:
            raise


def name_of(spec: dict[str, Any], path: Path) -> str:
    """What the pipeline calls itself, else the file's name."""
    return str(part(part(spec, "pipeline_spec") or spec, "pipelineInfo").get("name") or path.stem)


def disable_caching(spec: dict[str, Any]) -> None:
    """Switch caching off for every task of every DAG in ``spec``."""
    document = spec.get("pipeline_spec", spec)
    components = [document.get("root", {}), *document.get("components", {}).values()]
    for component in components:
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}
