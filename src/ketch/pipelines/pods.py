"""From a task to its pod: one container, its inputs read-only at the SDK's paths, one directory for all it leaves.

Pure. A pod's name follows from task and attempt, so that asking for the same pod twice makes one.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.kube.types.containers import (
    Container,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    ResourceRequirements,
    VolumeMount,
)
from ketch.kube.types.pods import Pod, PodSpec
from ketch.kube.types.volumes import InlineCSIVolume, Volume
from ketch.pipelines.documents import executor_input, planned_outputs
from ketch.pipelines.ir.spec import ComponentSpec, ContainerSpec, Resources
from ketch.pipelines.layout import TaskPlace, local_path, object_key
from ketch.pipelines.packages import packages_of
from ketch.pipelines.placeholders import Names, PlaceholderError, Scope, expand_command, expand_text
from ketch.pipelines.values import Values, to_json

RUN_LABEL: Final = "pipelines.kubeflow.org/run-id"
TASK_LABEL: Final = "pipelines.kubeflow.org/task-id"
COMPONENT_LABEL: Final = "pipelines.kubeflow.org/v2_component"
PATH_ANNOTATION: Final = "pipelines.kubeflow.org/task-path"
PACKAGES_ANNOTATION: Final = "environment.ketch.dev/packages"
ALONE_ANNOTATION: Final = "environment.ketch.dev/packages-without-dependencies"
INDEXES_ANNOTATION: Final = "environment.ketch.dev/index-urls"
OBJECTS_DRIVER: Final = "objects.ketch.dev"
MAIN: Final = "main"

_APP_LABELS: Final = {
    "app.kubernetes.io/component": "pipeline-step",
    "app.kubernetes.io/managed-by": "ketch",
    "app.kubernetes.io/part-of": "kubeflow-pipelines",
}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_VARIABLE = re.compile(r"\$\$+(?:\((\w+)\))?")
_DOLLARS = re.compile(r"\$+(?=\()|\$\$+")
_OWN_VARIABLES = ("KFP_POD_NAME", "KFP_POD_UID", "KFP_RUN_ID")
_RETRY_VARIABLE = "KFP_RETRY_INDEX"


class PodProblem(Exception):
    """The task cannot be made into a pod; the message is the task's error."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A container task, ready to run. ``place`` is the attempt's own directory."""

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


def pod_name(run_name: str, task_name: str, task_id: str, attempt: int) -> str:
    """The pod of one attempt: readable, unique, valid as a host name."""
    digest = hashlib.sha256(f"{task_id}/{attempt}".encode()).hexdigest()[:10]
    words = (_NOT_IN_NAMES.sub("-", run_name.lower())[:28], _NOT_IN_NAMES.sub("-", task_name.lower())[:22], digest)
    return "-".join(word for word in (part.strip("-") for part in words) if word)


def pod_of(step: Step, present: Collection[str]) -> Pod:
    """The pod. ``present`` are the URIs of input artifacts that the object store has. Raises PodProblem."""
    scope = _scope(step)
    container = step.container
    given = {variable.name for variable in container.env} | {*_OWN_VARIABLES, _RETRY_VARIABLE}
    quote = (partial(_quote_literal, given), _quote_data)
    try:
        image = expand_text(container.image, scope)
        command = expand_command(container.command, scope, quote)
        arguments = expand_command(container.args, scope, quote)
        env = [EnvVar(name=item.name, value=expand_text(item.value, scope, quote)) for item in container.env]
        resources = _resources(container.resources, scope)
    except (PlaceholderError, QuantityError) as error:
        raise PodProblem(str(error)) from error
    volumes, mounts = _volumes(step, present)
    main = Container(
        name=MAIN,
        image=image,
        command=command,
        args=arguments,
        env=(*_own_env(step), *env),
        resources=resources,
        volume_mounts=mounts,
        termination_message_policy="FallbackToLogsOnError",
    )
    labels = {RUN_LABEL: step.run_id, TASK_LABEL: step.task_id, COMPONENT_LABEL: "true", **_APP_LABELS}
    metadata = ObjectMeta(name=step.pod_name, namespace=step.namespace, labels=labels, annotations=_annotations(step))
    spec = PodSpec(
        containers=(main,), volumes=volumes, restart_policy="Never", service_account_name=step.service_account
    )
    return Pod(metadata=metadata, spec=spec)


def _scope(step: Step) -> Scope:
    declared = step.component.input_definitions.parameters
    defaults = {name: each.default_value for name, each in declared.items() if each.default_value is not msgspec.UNSET}
    return Scope(
        names=step.names,
        parameters={**defaults, **step.inputs.parameters},
        inputs=step.inputs.artifacts,
        outputs=planned_outputs(step.component, step.place),
        output_files={name: step.place.parameter_file(name) for name in step.component.output_definitions.parameters},
        output_file=step.place.output_file,
        executor_input=executor_input(step.component, step.inputs, step.place),
        local_path=local_path,
    )


def _quote_literal(variables: set[str], text: str) -> str:
    """Kubernetes reads ``$(NAME)`` as a variable and ``$$`` as ``$``: both keep their meaning only for known names."""

    def kept(found: re.Match[str]) -> str:
        return found[0] if found[1] in variables and found[0].startswith("$$(") else found[0].replace("$", "$$")

    return _VARIABLE.sub(kept, text)


def _quote_data(text: str) -> str:
    """A value is never read as a variable."""
    return _DOLLARS.sub(lambda found: found[0] * 2, text)


def _own_env(step: Step) -> tuple[EnvVar, ...]:
    fields = (("KFP_POD_NAME", "metadata.name"), ("KFP_POD_UID", "metadata.uid"))
    env = [
        EnvVar(name=name, value_from=EnvVarSource(field_ref=ObjectFieldSelector(field_path=path)))
        for name, path in fields
    ]
    env.append(EnvVar(name="KFP_RUN_ID", value=step.run_id))
    if step.retries:
        env.append(EnvVar(name=_RETRY_VARIABLE, value=str(step.attempt)))
    return tuple(env)


def _annotations(step: Step) -> Mapping[str, str]:
    packages = packages_of(step.container.command)
    annotations = {PATH_ANNOTATION: step.path}
    if packages.requirements:
        annotations[PACKAGES_ANNOTATION] = to_json(packages.requirements)
    if packages.alone:
        annotations[ALONE_ANNOTATION] = to_json(packages.alone)
    if packages.index_urls:
        annotations[INDEXES_ANNOTATION] = to_json(packages.index_urls)
    return annotations


def _resources(declared: Resources, scope: Scope) -> ResourceRequirements:
    limits = {
        "cpu": _quantity(declared.resource_cpu_limit, declared.cpu_limit, "", scope),
        "memory": _quantity(declared.resource_memory_limit, declared.memory_limit, "G", scope),
    }
    requests = {
        "cpu": _quantity(declared.resource_cpu_request, declared.cpu_request, "", scope),
        "memory": _quantity(declared.resource_memory_request, declared.memory_request, "G", scope),
    }
    accelerator = declared.accelerator
    kind = expand_text(accelerator.resource_type, scope) or accelerator.type
    count = expand_text(accelerator.resource_count, scope) or str(accelerator.count)
    if kind and count not in ("", "0"):
        limits[kind] = count
    for quantity in (*limits.values(), *requests.values()):
        _check_quantity(quantity)
    return ResourceRequirements(
        limits={name: value for name, value in limits.items() if value},
        requests={name: value for name, value in requests.items() if value},
    )


def _quantity(text: str, number: float, suffix: str, scope: Scope) -> str:
    """The current form if there is one, else the older number."""
    expanded = expand_text(text, scope).strip()
    return expanded if expanded or not number else f"{number:g}{suffix}"


def _check_quantity(text: str) -> None:
    try:
        if text:
            parse_quantity(text)
    except QuantityError as error:
        raise QuantityError(f"resource quantity {text!r}: {error}") from error


def _volumes(step: Step, present: Collection[str]) -> tuple[tuple[Volume, ...], tuple[VolumeMount, ...]]:
    key = step.place.key
    if key is None:
        raise PodProblem(f"the pipeline root of {step.place.uri} is no object store that is known here")
    volumes = [_objects("outputs", key)]
    mounts = [VolumeMount(name="outputs", mount_path=step.place.path)]
    for number, (path, source) in enumerate(_input_mounts(step.inputs, present).items()):
        name = f"input-{number}"
        volumes.append(_objects(name, source, read_only=True))
        mounts.append(VolumeMount(name=name, mount_path=path, read_only=True))
    return tuple(volumes), tuple(mounts)


def _objects(name: str, key: str, *, read_only: bool | None = None) -> Volume:
    source = InlineCSIVolume(driver=OBJECTS_DRIVER, read_only=read_only, volume_attributes={"path": key})
    return Volume(name=name, csi=source)


def _input_mounts(inputs: Values, present: Collection[str]) -> Mapping[str, str]:
    """Keys by the path where each belongs. What lies within another comes along with it."""
    wanted: dict[str, str] = {}
    for artifacts in inputs.artifacts.values():
        for artifact in artifacts:
            key = object_key(artifact.uri)
            if key is not None and artifact.uri in present:
                wanted[local_path(artifact.uri.partition("?")[0]).rstrip("/")] = key
    chosen: dict[str, Any] = {}
    last = ""
    for path in sorted(wanted, key=lambda each: each.split("/")):
        if not last or not path.startswith(f"{last}/"):
            chosen[path] = wanted[path]
            last = path
    return chosen
