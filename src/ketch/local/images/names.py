"""Image names: what registry, repository and tag a reference names, and which recipe a mapping gives it. Pure."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KFP = "kfp==2.17.3"
"""What lightweight components of the Pipelines SDK expect beside the interpreter."""

TORCH = ("torch==2.13.0", "numpy")
"""What training images of PyTorch stand for; where it comes from is the index's to say (a CPU build, say)."""

_PYTHON_TAG = re.compile(r"^(3\.\d+)(?:\.\d+)?(?:[-.].*)?$")


@dataclass(frozen=True)
class Reference:
    """``[registry/]repository[:tag][@digest]``, Docker Hub's own spellings folded into one."""

    repository: str
    tag: str

    @property
    def last(self) -> str:
        """The repository's last component: ``python`` of ``registry.example/base/python``."""
        return self.repository.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def parse_reference(image: str) -> Reference:
    """The parts of an image's name; the tag is ``latest`` when there is none."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    repository = f"{head}{slash}{last}"
    for prefix in ("index.docker.io/", "docker.io/", "library/"):
        repository = repository.removeprefix(prefix)
    return Reference(repository, tag or "latest")


@dataclass(frozen=True)
class Recipe:
    """What stands for an image: the machine's own system, with a Python environment when ``python`` is set.

    ``python`` is the wanted minor version, or "" for the platform's own; None makes no environment. What stands in
    ``alone`` is installed without what it asks for itself, as the Pipelines SDK installs itself into its steps.
    ``own`` are the platform's own programs, which nobody but the platform runs.
    """

    python: str | None = None
    requirements: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    argv: tuple[str, ...] = ("sh",)
    own: bool = False


@dataclass(frozen=True)
class Rule:
    """Images whose ``repository:tag`` matches ``pattern`` (shell wildcards) are made by ``recipe``."""

    pattern: str
    recipe: Recipe


class MappingInvalid(Exception):
    """The file of mappings cannot be read; the message names the entry and what is wrong with it."""


OPEN_MPI = ("openmpi", "mpi4py")
"""MPI from the index: libraries, mpirun, and what lets Python speak it."""

KUBECTL_DELIVERY = ("python3", "-m", "ketch.training.delivery")
"""What gives an MPIJob's launcher its ``kubectl``."""

INITIALIZERS = ("python3", "-m", "ketch.training.initializers")
"""What fetches a TrainJob's dataset or model."""

SYSTEM_IMAGES = frozenset({"alpine", "bash", "busybox", "debian", "ubuntu"})
DEFAULT_RULES = (
    Rule("ketch.dev/*", Recipe(argv=("python3",), own=True)),
    Rule("pytorch/pytorch", Recipe("", TORCH, argv=("python3",))),
    Rule("tensorflow/tensorflow", Recipe("", ("tensorflow-cpu",), argv=("python3",))),
    Rule("*/nvidia/jax", Recipe("", ("jax", "numpy"), argv=("python3",))),
    Rule("*/kubeflow/trainer/xgboost-runtime", Recipe("", ("xgboost", "scikit-learn"), argv=("python3",))),
    Rule("*/kubeflow/trainer/dataset-initializer", Recipe(argv=(*INITIALIZERS, "dataset"), own=True)),
    Rule("*/kubeflow/trainer/model-initializer", Recipe(argv=(*INITIALIZERS, "model"), own=True)),
    Rule("*/kubectl-delivery", Recipe(argv=KUBECTL_DELIVERY, own=True)),
    Rule("mpioperator/*:*intel*", Recipe("", ("impi-rt", "mpi4py"), argv=("python3",))),
    Rule("mpioperator/*:*mpich*", Recipe("", ("mpich", "mpi4py"), argv=("python3",))),
    Rule("mpioperator/intel*", Recipe("", ("impi-rt", "mpi4py"), argv=("python3",))),
    Rule("mpioperator/mpich*", Recipe("", ("mpich", "mpi4py"), argv=("python3",))),
    Rule("mpioperator/*", Recipe("", OPEN_MPI, argv=("python3",))),
    Rule("*/kubeflow/trainer/deepspeed-runtime", Recipe("", (*TORCH, *OPEN_MPI, "deepspeed"), argv=("python3",))),
    Rule("*/kubeflow/trainer/mlx-runtime", Recipe("", ("mlx[cpu]", "mlx-lm", *OPEN_MPI), argv=("python3",))),
    Rule("*/kubeflow/trainer/torchtune-trainer", Recipe("", (*TORCH, "torchao<0.11", "torchtune"), argv=("python3",))),
    Rule("kubeflownotebookswg/*", Recipe("", alone=(KFP,), argv=("python3",))),
    Rule("*/kubeflow/notebook-servers/*", Recipe("", alone=(KFP,), argv=("python3",))),
)


def parse_rules(entries: Any, source: str) -> tuple[Rule, ...]:
    """The rules of a mapping file: a list of ``{"pattern", "python"?, "requirements"?, "system"?}``.

    Raises MappingInvalid.
    """
    if not isinstance(entries, list):
        raise MappingInvalid(f"{source}: must be a list of mappings")
    return tuple(_rule(entry, f"{source}: entry {number}") for number, entry in enumerate(entries))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON from outside


def _rule(entry: Any, where: str) -> Rule:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("pattern"), str):  # pyright: ignore[reportUnknownMemberType]  # JSON from outside
        raise MappingInvalid(f'{where}: needs a "pattern" such as "registry.example/team/*"')
    fields: Mapping[str, Any] = entry  # pyright: ignore[reportUnknownVariableType]
    if unknown := set(fields) - {"pattern", "python", "requirements", "system"}:
        raise MappingInvalid(f"{where}: unknown {', '.join(sorted(unknown))}")
    if fields.get("system"):
        return Rule(fields["pattern"], Recipe())
    requirements = fields.get("requirements", [])
    if not isinstance(requirements, Sequence) or not all(isinstance(item, str) for item in requirements):  # pyright: ignore[reportUnknownVariableType]
        raise MappingInvalid(f'{where}: "requirements" must be a list of texts')
    texts: Sequence[str] = requirements  # pyright: ignore[reportUnknownVariableType]
    return Rule(fields["pattern"], Recipe(str(fields.get("python", "")), tuple(texts), argv=("python3",)))


def find_recipe(image: str, rules: Sequence[Rule]) -> Recipe | None:
    """What ``image`` is made by: the first of ``rules`` that matches, else what every platform knows; None: nothing."""
    reference = parse_reference(image)
    for rule in (*rules, *DEFAULT_RULES):
        if fnmatch.fnmatchcase(str(reference), rule.pattern) or fnmatch.fnmatchcase(reference.repository, rule.pattern):
            return rule.recipe
    if reference.last == "python":
        if found := _PYTHON_TAG.match(reference.tag):
            return Recipe(found[1], alone=(KFP,), argv=("python3",))
        if reference.tag in ("latest", "3", "slim", "alpine") or reference.tag.startswith("3-"):
            return Recipe("", alone=(KFP,), argv=("python3",))
    if reference.repository in SYSTEM_IMAGES:
        return Recipe()
    return None
