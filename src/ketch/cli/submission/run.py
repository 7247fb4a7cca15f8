"""``ketch run``: submit a pipeline, follow it, and end with its outcome."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ketch.cli.compilation import CompilationError, load_pipeline
from ketch.cli.follow import Host, end_with_outcome, pipelines_api
from ketch.cli.messages import USAGE, fail
from ketch.cli.options import DataDir


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


def run(
    pipeline: Annotated[Path, typer.Argument(help="A .py that defines a @dsl.pipeline, or a compiled .yaml.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="A parameter.")
    ] = None,
    experiment: Annotated[str, typer.Option(help="The experiment that the run belongs to.")] = "Default",
    name: Annotated[str, typer.Option(help="The run's display name.")] = "",
    function: Annotated[str, typer.Option("--pipeline", help="Which pipeline of a file that defines several.")] = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step, whatever ran before.")] = False,
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Submit a pipeline and follow it. Exit code 0: succeeded; 1: failed; 2: no pipeline; 3: no platform."""
    request = _request(pipeline, function, parameter or [], name, no_cache=no_cache)
    with pipelines_api(host, data_dir) as api:
        created = api.create_run({**request, "experiment_id": api.experiment_id(experiment)})
        end_with_outcome(api, str(created["run_id"]))


def _request(path: Path, function: str, parameter: Sequence[str], name: str, *, no_cache: bool) -> dict[str, Any]:
    """What is submitted; ends the command where that is no pipeline."""
    try:
        parameters = parse_parameters(parameter)
        spec = load_pipeline(path, function)
    except (ValueError, CompilationError) as error:
        fail(str(error), USAGE)
    if no_cache:
        disable_caching(spec)
    return {
        "display_name": name or f"{path.stem} {datetime.now().astimezone():%Y-%m-%d %H-%M-%S}",
        "pipeline_spec": spec,
        "runtime_config": {"parameters": typed_parameters(parameters, spec)},
    }


def disable_caching(spec: dict[str, Any]) -> None:
    """Switch caching off for every task of every DAG in ``spec``."""
    document = spec.get("pipeline_spec", spec)
    components = [document.get("root", {}), *document.get("components", {}).values()]
    for component in components:
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}
