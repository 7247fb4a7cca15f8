"""Which modules of an environment may be imported ahead of a container's start, and in which environment.

What imports ahead has rights that containers have not. So it imports only from environments in which the platform
knows every project, from the platform's own index: the container's environment where it is one, else one of the few
projects that are needed. Where those two differ in a file that is imported, nothing is imported ahead.
"""

import filecmp
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ketch.local.images.environments import MOUNT, BuildFailed, Content, Environments
from ketch.local.images.image import Image
from ketch.local.sandbox.spec import Mount, Rehearsal

START_UP = ("sitecustomize.py", "usercustomize.py")
"""Modules that an interpreter imports by itself, beside what ``.pth`` files name."""


@dataclass(frozen=True)
class Preload:
    """A program, ``python -m module``, and what it imports in any case: all of that is known to start no threads.

    ``env`` is what its environment variables must say for that to hold. ``project`` is whose module it is.
    ``rehearsal`` is a run of it that all others are like.
    """

    module: str
    project: str
    imports: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    rehearsal: Rehearsal | None = None


COMPONENT = """
import kfp
from kfp import dsl
from kfp.dsl import *
from typing import *

def rehearsed(number: int, text: str = 'text') -> str:
    return text * number
"""
"""A component as the SDK hands it to its executor."""

EXECUTOR_INPUT = {
    "inputs": {"parameterValues": {"number": 1}},
    "outputs": {
        "parameters": {"Output": {"outputFile": "{folder}/output/Output"}},
        "outputFile": "{folder}/output/executor_output.json",
    },
}
PRELOADS = (
    Preload(
        module="kfp.dsl.executor_main",
        project="kfp",
        imports=(
            *("argparse", "json", "locale", "logging", "shutil"),
            *("kfp.dsl.executor", "kfp.dsl.kfp_config", "kfp.dsl.utils"),
        ),
        env={"_KFP_RUNTIME": "true"},
        rehearsal=Rehearsal(
            module="kfp.dsl.executor_main",
            arguments=(
                *("--component_module_path", "{text}"),
                *("--executor_input", json.dumps(EXECUTOR_INPUT), "--function_to_execute", "rehearsed"),
            ),
            text=COMPONENT,
        ),
    ),
)
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "numpy": ("numpy", "numpy.random"),
    "scipy": ("scipy", "scipy.sparse", "scipy.linalg"),
    "pandas": ("pandas",),
    "joblib": ("joblib",),
    "scikit_learn": (
        "sklearn",
        *(
            f"sklearn.{name}"
            for name in (
                "datasets",
                "ensemble",
                "linear_model",
                "metrics",
                "model_selection",
                "pipeline",
                "preprocessing",
            )
        ),
    ),
}
"""Modules that programs import if they want, by project, those first that others need. They start no threads that
outlive a fork: OpenBLAS ends its own before one, and begins anew after it."""

KNOWN = frozenset(
    {
        *(preload.project for preload in PRELOADS),
        *EXTRAS,
        *("cloudpickle", "kfp_pipeline_spec", "narwhals", "python_dateutil", "pytz", "six", "threadpoolctl"),
        *("typing_extensions", "tzdata"),
    }
)
"""Projects that run nothing when an interpreter starts and whose modules may be imported ahead."""


@dataclass(frozen=True)
class Plan:
    """An interpreter to have ready: where it imports what, and which view of the machine it needs for that."""

    preload: Preload
    extras: tuple[str, ...]
    environment: Path
    mounts: tuple[Mount, ...]

    @property
    def key(self) -> str:
        """Names it: equal plans have equal keys."""
        return f"{self.environment.name[:16]}-{self.preload.project}{'-extras' if self.extras else ''}"


def preload_of(module: str, env: Mapping[str, str]) -> Preload | None:
    """What is known of the program, for a process with these variables."""
    for preload in PRELOADS:
        if preload.module == module and preload.env.items() <= env.items():
            return preload
    return None


def projects(environment: Path) -> Mapping[str, str]:
    """Every project in the environment, with its version."""
    found = (path.name.removesuffix(".dist-info").partition("-") for path in _library(environment).glob("*.dist-info"))
    return {name.lower().replace(".", "_").replace("-", "_"): version for name, _, version in found}


def known_throughout(content: Content, there: Iterable[str]) -> bool:
    """Whether the environment holds only known projects, and where from."""
    plain = all(set("@/:\\").isdisjoint(text) for text in (*content.requirements, *content.alone))
    return plain and not content.index_urls and KNOWN.issuperset(there)


async def plan(image: Image, preload: Preload, environments: Environments, *, extras: bool) -> Plan | None:
    """How the program is had ready for containers of the image; None when it cannot be. Takes long at times."""
    if image.environment is None or image.content is None:
        return None
    there = projects(image.environment)
    if preload.project not in there:
        return None
    if known_throughout(image.content, there):
        wanted = tuple(module for name, modules in EXTRAS.items() if name in there for module in modules)
        return _planned(image, preload, image.environment, wanted if extras else ())
    alone = (f"{preload.project}=={there[preload.project]}",)
    try:
        base = await environments.ensure(Content(image.content.interpreter, (), alone, ()))
    except BuildFailed:
        return None  # a version that the platform's index has not
    return _planned(image, preload, base, ())


def _planned(image: Image, preload: Preload, environment: Path, extras: tuple[str, ...]) -> Plan:
    return Plan(preload, extras, environment, tuple(_view(image.mounts, environment)))


def _view(mounts: Iterable[Mount], environment: Path) -> Iterator[Mount]:
    """The container's mounts with nothing in them that one container has for itself."""
    for mount in mounts:
        if mount.target == MOUNT:
            yield Mount("ro-bind", MOUNT, str(environment))
        elif mount.kind == "overlay":
            yield replace(mount, kind="ro-bind")
        elif mount.kind == "scratch":
            yield replace(mount, kind="tmpfs")
        else:
            yield mount


def alike(base: Path, environment: Path, files: Iterable[str]) -> bool:
    """Whether an interpreter in ``environment`` starts and imports as one in ``base`` that has imported ``files``."""
    if base == environment:
        return True
    library, other = _library(base), _library(environment)
    if _start_up(library) != _start_up(other):
        return False
    inside = [Path(file).relative_to(MOUNT) for file in files if Path(file).is_relative_to(MOUNT)]
    if not all(_same(base / path, environment / path) for path in inside):
        return False
    names: dict[Path, set[str]] = {}
    for path in inside:
        for parent, child in zip(path.parents, path.parts[::-1], strict=False):
            names.setdefault(parent, set()).add(child.partition(".")[0])
    return all(_called(base / folder, each) == _called(environment / folder, each) for folder, each in names.items())


def _library(environment: Path) -> Path:
    return next(environment.glob("lib/python3.*/site-packages"))


def _start_up(library: Path) -> Mapping[str, bytes]:
    found = [*library.glob("*.pth"), *(library / name for name in START_UP)]
    return {path.name: path.read_bytes() for path in found if path.exists()}


def _same(one: Path, other: Path) -> bool:
    return other.exists() and (one.samefile(other) or filecmp.cmp(one, other, shallow=False))


def _called(folder: Path, names: Container[str]) -> frozenset[str]:
    """What could be imported from the folder under one of the names."""
    if not folder.is_dir():
        return frozenset()
    return frozenset(path.name for path in folder.iterdir() if path.name.partition(".")[0] in names)
