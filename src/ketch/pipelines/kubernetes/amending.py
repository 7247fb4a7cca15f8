"""The settings of a step into its pod. Pure."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from msgspec import UNSET

from ketch.kube.types.pods import Pod
from ketch.pipelines.ir.reading import SpecError, typed
from ketch.pipelines.ir.spec import ParameterInput
from ketch.pipelines.kubernetes.applying import apply
from ketch.pipelines.kubernetes.settings import NO_SETTINGS, PodSettings, settings_of
from ketch.pipelines.kubernetes.sources import ABSENT, SettingProblem, input_candidates
from ketch.pipelines.kubernetes.spec import ExecutorConfig
from ketch.pipelines.steps.placeholders import PlaceholderError, Scope, expand, expand_text
from ketch.pipelines.steps.step import PodProblem, Step
from ketch.pipelines.values import plain


def amend(step: Step, pod: Pod) -> Pod:
    """``pod`` with what the step's executor asks of Kubernetes. Raises PodProblem."""
    return apply(pod, settings(step)) if step.platform else pod


def settings(step: Step) -> PodSettings:
    """What the step's executor asks of Kubernetes. Raises PodProblem."""
    if not step.platform:
        return NO_SETTINGS
    scope = Scope(names=step.names, parameters=step.inputs.parameters)
    try:
        config = typed(step.platform, ExecutorConfig)
        return settings_of(config, partial(_value, step, scope), partial(expand_text, scope=scope))
    except (SpecError, SettingProblem, PlaceholderError) as error:
        raise PodProblem(str(error)) from error


def _value(step: Step, scope: Scope, what: str, source: ParameterInput) -> Any:
    if source.runtime_value is not None:
        constant = source.runtime_value.constant
        return ABSENT if constant is UNSET else plain(expand(constant, scope))
    if (name := source.component_input_parameter) is not None:
        return plain(_input(step, what, name))
    value = step.resolve(source)
    if value is UNSET:
        producer = source.task_output_parameter
        named = f'task "{producer.producer_task}" gave no output "{producer.output_parameter_key}"' if producer else ""
        raise SettingProblem(f"{what} has no value: {named or 'nothing gives one'}")
    return plain(value)


def _input(step: Step, what: str, name: str) -> Any:
    """An input around the task; ABSENT when it is optional and was not given."""
    for candidate, key in input_candidates(name):
        value = step.resolve(ParameterInput(component_input_parameter=candidate))
        if value is UNSET:
            continue
        if not key:
            return value
        if not isinstance(value, Mapping) or key not in value:
            raise SettingProblem(f'{what} has no value: the item has no "{key}"')
        return cast("Mapping[str, Any]", value)[key]
    return ABSENT
