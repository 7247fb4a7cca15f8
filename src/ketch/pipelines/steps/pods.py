"""From a task to its pod: one container, its inputs read-only at the SDK's paths, one directory for all it leaves.

Pure. A pod's name follows from task and attempt, so that asking for the same pod twice makes one. What a pod gets
beyond its component is in two lists of amendments: ``SETTINGS`` are what the task asks for, and a TaskConfig may take
them away again; ``COMPLETIONS`` follow from the pod as a whole.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.quantities import QuantityError
from ketch.kube.types.containers import Container, EnvVar, EnvVarSource, ObjectFieldSelector
from ketch.kube.types.pods import Pod, PodSpec
from ketch.pipelines.kubernetes import amending as kubernetes
from ketch.pipelines.logs.archiver import keeping
from ketch.pipelines.steps import workspace
from ketch.pipelines.steps.commands import Command, command_of
from ketch.pipelines.steps.documents import executor_input, planned_outputs
from ketch.pipelines.steps.layout import artifact_path
from ketch.pipelines.steps.mounts import of_objects
from ketch.pipelines.steps.packages import packages_of
from ketch.pipelines.steps.placeholders import PlaceholderError, Quote, Scope, expand_text
from ketch.pipelines.steps.process import PROCESS_ANNOTATION, process_of
from ketch.pipelines.steps.resources import requirements
from ketch.pipelines.steps.step import (
    APP_LABELS,
    COMPONENT_LABEL,
    MAIN,
    PATH_ANNOTATION,
    RUN_LABEL,
    TASK_LABEL,
    Amendment,
    PodProblem,
    Step,
)
from ketch.pipelines.steps.taskconfig import config_input, passed_through
from ketch.pipelines.transfer.containers import carried
from ketch.pipelines.values import Artifact, Values, to_json

PACKAGES_ANNOTATION: Final = "environment.ketch.dev/packages"
ALONE_ANNOTATION: Final = "environment.ketch.dev/packages-without-dependencies"
INDEXES_ANNOTATION: Final = "environment.ketch.dev/index-urls"

SETTINGS: Final[Sequence[Amendment]] = (kubernetes.amend, workspace.mounted)
COMPLETIONS: Final[Sequence[Amendment]] = (carried, keeping)

_VARIABLE = re.compile(r"\$\$+(?:\((\w+)\))?")
_DOLLARS = re.compile(r"\$+(?=\()|\$\$+")
_OWN_VARIABLES = ("KFP_POD_NAME", "KFP_POD_UID", "KFP_RUN_ID")
_RETRY_VARIABLE = "KFP_RETRY_INDEX"
_EXECUTOR_INPUT = "{{$}}"
_OWN_PLACEHOLDERS = frozenset({_EXECUTOR_INPUT, "{{$.outputs.output_file}}"})
_ARGUMENTS = "long arguments"  # no component's input is called that


class Made(msgspec.Struct, frozen=True):
    """A pod, and what must be in the object store before it starts: content by URI."""

    pod: Pod
    files: Mapping[str, bytes]


def pod_of(step: Step, present: Collection[str]) -> Pod:
    """The pod. ``present`` are the URIs of input artifacts that the object store has. Raises PodProblem."""
    return made(step, present).pod


def made(step: Step, present: Collection[str]) -> Made:
    """The pod with the files that it needs. Raises PodProblem."""
    step = _told(step)
    try:
        pod = _asked_for(step)
        for amend in SETTINGS:
            pod = amend(step, pod)
        if name := config_input(step.component):
            step, pod = _configured(step, pod, name)
        command = command_of(step, _scope(step), _quote(step))
    except (PlaceholderError, QuantityError) as error:
        raise PodProblem(str(error)) from error
    pod = _with_command(pod, command)
    if command.files:
        step, present = _reading(step, command.uri), {*present, command.uri}
    volumes, mounts = of_objects(step, present)
    main = pod.spec.containers[0]
    main = msgspec.structs.replace(main, volume_mounts=(*mounts, *main.volume_mounts))
    spec = msgspec.structs.replace(
        pod.spec, containers=(main, *pod.spec.containers[1:]), volumes=(*volumes, *pod.spec.volumes)
    )
    pod = msgspec.structs.replace(pod, spec=spec)
    for amend in COMPLETIONS:
        pod = amend(step, pod)
    return Made(pod, command.files)


def _told(step: Step) -> Step:
    """The step with those of its inputs that are nothing but a placeholder of its executor's input or output file."""
    values = step.inputs.parameters
    if not any(value in _OWN_PLACEHOLDERS for value in values.values() if isinstance(value, str)):
        return step
    document = to_json(executor_input(step.component, step.inputs, step.place))
    meant = dict.fromkeys(_OWN_PLACEHOLDERS, step.place.output_file) | {_EXECUTOR_INPUT: document}
    parameters = {
        name: meant[value] if isinstance(value, str) and value in meant else value for name, value in values.items()
    }
    return msgspec.structs.replace(step, inputs=Values(parameters, step.inputs.artifacts))


def _asked_for(step: Step) -> Pod:
    """The pod with its image, environment and resources, without command and data."""
    scope, quote = _scope(step), _quote(step)
    env = [EnvVar(name=item.name, value=expand_text(item.value, scope, quote)) for item in step.container.env]
    main = Container(
        name=MAIN,
        image=expand_text(step.container.image, scope),
        env=(*_own_env(step), *env),
        resources=requirements(step.container.resources, scope),
        termination_message_policy="FallbackToLogsOnError",
    )
    labels = {RUN_LABEL: step.run_id, TASK_LABEL: step.task_id, COMPONENT_LABEL: "true", **APP_LABELS}
    metadata = ObjectMeta(name=step.pod_name, namespace=step.namespace, labels=labels, annotations=_annotations(step))
    spec = PodSpec(containers=(main,), restart_policy="Never", service_account_name=step.service_account)
    return Pod(metadata=metadata, spec=spec)


def _configured(step: Step, pod: Pod, name: str) -> tuple[Step, Pod]:
    """The step knows its TaskConfig as the input ``name``."""
    config, pod = passed_through(step, pod, frozenset((*_OWN_VARIABLES, _RETRY_VARIABLE)))
    parameters = {**step.inputs.parameters, name: config}
    return msgspec.structs.replace(step, inputs=Values(parameters, step.inputs.artifacts)), pod


def _with_command(pod: Pod, command: Command) -> Pod:
    main = msgspec.structs.replace(pod.spec.containers[0], command=command.command, args=command.args)
    spec = msgspec.structs.replace(pod.spec, containers=(main, *pod.spec.containers[1:]))
    process = process_of((*command.command, *command.args))
    if process is None:
        return msgspec.structs.replace(pod, spec=spec)
    annotations = {**pod.metadata.annotations, PROCESS_ANNOTATION: msgspec.json.encode(process).decode()}
    return Pod(metadata=msgspec.structs.replace(pod.metadata, annotations=annotations), spec=spec)


def _reading(step: Step, uri: str) -> Step:
    """The step with one more input: the words of its command that are files."""
    words = Artifact(id="", name=_ARGUMENTS, type="system.Artifact", uri=uri)
    inputs = Values(step.inputs.parameters, {**step.inputs.artifacts, _ARGUMENTS: (words,)})
    return msgspec.structs.replace(step, inputs=inputs)


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
        artifact_path=artifact_path,
    )


def _quote(step: Step) -> Quote:
    known = {variable.name for variable in step.container.env} | {*_OWN_VARIABLES, _RETRY_VARIABLE}
    return partial(_quote_literal, known), _quote_data


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
