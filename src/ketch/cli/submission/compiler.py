"""Compile the pipeline that a Python file defines, by the official SDK; runs in a process of its own.

``python -m ketch.cli.submission.compiler SOURCE TARGET [NAME]``. The file's folder comes first on the path, as in
``python SOURCE``. Exits with a sentence where the file is no pipeline; exceptions show with the frames of the user's
own files alone.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any


def _sdk() -> tuple[Any, type, type]:
    """The SDK's compiler module, its component class and its pipeline class."""
    try:
        compiler = importlib.import_module("kfp.compiler")
        component = importlib.import_module("kfp.dsl.base_component").BaseComponent
        return compiler, component, importlib.import_module("kfp.dsl.graph_component").GraphComponent
    except ModuleNotFoundError:
        sys.exit("the kfp SDK is not installed in this Python: pip install kfp, or give a compiled .yaml")


def _load(source: Path) -> ModuleType:
    sys.path.insert(0, str(source.parent))
    spec = importlib.util.spec_from_file_location(source.stem, source)
    if spec is None or spec.loader is None:
        sys.exit(f"{source.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.stem] = module
    spec.loader.exec_module(module)
    return module


def choose(components: Mapping[str, Any], pipelines: Mapping[str, Any], source: Path, wanted: str) -> Any:
    """The one to run: the ``wanted`` one; else the file's own pipeline, the one around its others; else its only
    component."""
    if wanted:
        if wanted not in components:
            known = ", ".join(sorted(components)) or "none"
            sys.exit(f"no pipeline or component {wanted!r} in {source.name}: there are {known}")
        return components[wanted]
    own = {name: item for name, item in pipelines.items() if item.pipeline_func.__module__ == source.stem}
    candidates = own or pipelines or (components if len(components) == 1 else {})
    if not candidates:
        sys.exit(f"no @dsl.pipeline in {source.name}: decorate the function that joins the steps with @dsl.pipeline")
    if len(candidates) > 1 and len(outer := outermost(candidates)) == 1:
        candidates = outer
    if len(candidates) > 1:
        several = ", ".join(sorted(candidates))
        sys.exit(f"{source.name} defines several pipelines ({several}): choose one with --pipeline NAME")
    return next(iter(candidates.values()))


def outermost(pipelines: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those that no other one of ``pipelines`` has as a step."""
    used = {label for item in pipelines.values() for label in item.pipeline_spec.components}
    return {name: item for name, item in pipelines.items() if f"comp-{item.name}" not in used}


def users_part(error: BaseException, folder: Path) -> str:
    """The exception with the frames that lie in the user's ``folder``."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder) and "site-packages" not in frame.filename
    ]
    return "".join([*traceback.format_list(frames), *traceback.format_exception_only(error)]).rstrip()


def main() -> None:
    """Compile ``sys.argv[1]`` into ``sys.argv[2]``."""
    try:
        _compile()
    except Exception as error:  # noqa: BLE001  # whatever the user's module raises is shown to the user
        sys.exit(users_part(error, Path(sys.argv[1]).parent))


def _compile() -> None:
    source, target, wanted = Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    compiler, component, graph = _sdk()
    defined = {name: item for name, item in vars(_load(source)).items() if isinstance(item, component)}
    pipelines = {name: item for name, item in defined.items() if isinstance(item, graph)}
    compiler.Compiler().compile(choose(defined, pipelines, source, wanted), target)


if __name__ == "__main__":
    main()
