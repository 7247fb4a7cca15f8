"""A container task that is ready to run, and the names by which its pod is known.

``Step`` is all that anything may know which makes or changes the pod: ``pods`` builds it, an ``Amendment`` adds to it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ketch.kube.types.pods import Pod
from ketch.pipelines.ir.spec import ComponentSpec, ContainerSpec, ParameterInput
from ketch.pipelines.steps.layout import TaskPlace
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.transfer.sources import HERE, Carriage
from ketch.pipelines.values import Values

RUN_LABEL: Final = "pipelines.kubeflow.org/run-id"
TASK_LABEL: Final = "pipelines.kubeflow.org/task-id"
COMPONENT_LABEL: Final = "pipelines.kubeflow.org/v2_component"
PATH_ANNOTATION: Final = "pipelines.kubeflow.org/task-path"
APP_LABELS: Final[Mapping[str, str]] = {
    "app.kubernetes.io/component": "pipeline-step",
    "app.kubernetes.io/managed-by": "ketch",
    "app.kubernetes.io/part-of": "kubeflow-pipelines",
}
OURS: Final = "app.kubernetes.io/managed-by=ketch"
"""Selects what the engine has made."""

MAIN: Final = "main"
"""The container that runs the component."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


class PodProblem(Exception):
    """The task cannot be made into a pod; the message is the task's error."""


def _unresolved(source: ParameterInput) -> Any:  # noqa: ARG001  # the shape of what resolves
    return UNSET


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A container task, ready to run. ``place`` is the attempt's own directory.

    ``platform`` is the executor's Kubernetes configuration as the specification has it, ``resolve`` gives the value of
    an input that it names (UNSET when there is none). ``workspace`` is the run's claim, empty when it has none.
    ``carriage`` is how data gets to the pod and from it where the object store cannot be mounted.
    """

    namespace: str
    run_id: str
    task_id: str
    path: str
    pod_name: str
    attempt: int
    retries: bool
    service_account: str
    names: Names
    place: TaskPlace
    component: ComponentSpec
    container: ContainerSpec
    inputs: Values
    platform: Mapping[str, Any] = {}
    resolve: Callable[[ParameterInput], Any] = _unresolved
    workspace: str = ""
    carriage: Carriage = HERE


Amendment = Callable[[Step, Pod], Pod]
"""Adds to a step's pod. Pure. Raises PodProblem."""


@lru_cache(maxsize=4096)  # a step's pod is looked for again and again
def pod_name(run_name: str, task_name: str, task_id: str, attempt: int) -> str:
    """The pod of one attempt: readable, unique, valid as a host name."""
    digest = hashlib.sha256(f"{task_id}/{attempt}".encode()).hexdigest()[:10]
    words = (_NOT_IN_NAMES.sub("-", run_name.lower())[:28], _NOT_IN_NAMES.sub("-", task_name.lower())[:22], digest)
    return "-".join(word for word in (part.strip("-") for part in words) if word)
