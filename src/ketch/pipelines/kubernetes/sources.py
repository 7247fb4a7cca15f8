"""Where the value of a setting comes from, and what is said when it cannot be had."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from ketch.pipelines.ir.spec import ParameterInput, RuntimeValue
from ketch.pipelines.kubernetes.spec import ExecutorConfig, PvcMount
from ketch.pipelines.values import kind_name

ABSENT: Final = None
"""The value of an optional parameter that was not given: the setting it names is left out."""

_PREFIX: Final = "pipelinechannel--"
_KEY_OF_ITEM: Final = "-subvar-"

Find = Callable[[str, ParameterInput], Any]
"""The value of a parameter; the first argument says for what, in a user's words. Raises SettingProblem."""


class SettingProblem(Exception):
    """A setting cannot be applied; the message is the task's error."""


def text_value(what: str, text: str, parameter: ParameterInput | None, find: Find) -> str | None:
    """A name: of the parameter if there is one, else as written. None: leave the setting out."""
    value = find(what, parameter) if parameter is not None else text
    if value is ABSENT:
        return None
    if not isinstance(value, str):
        raise SettingProblem(f"{what}: must be text, not {kind_name(value)}")
    if not value:
        raise SettingProblem(f"{what}: must not be empty")
    return value


def objects_value(what: str, parameter: ParameterInput, find: Find) -> list[Mapping[str, Any]]:
    """One object or a list of objects; nothing when the parameter was not given."""
    value = find(what, parameter)
    if value is ABSENT:
        return []
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, Mapping):
            raise SettingProblem(f"{what}: must be an object, not {kind_name(item)}")
    return [item for item in cast("list[Mapping[str, Any]]", items) if item]


def claim_parameter(mount: PvcMount) -> ParameterInput | None:
    """Where the claim's name comes from, whichever form it has; None when it has none."""
    if mount.pvc_name_parameter is not None:
        return mount.pvc_name_parameter
    if mount.constant:
        return ParameterInput(runtime_value=RuntimeValue(constant=mount.constant))
    if mount.task_output_parameter is not None:
        return ParameterInput(task_output_parameter=mount.task_output_parameter)
    if mount.component_input_parameter:
        return ParameterInput(component_input_parameter=mount.component_input_parameter)
    return None


def parameters(config: ExecutorConfig) -> Iterator[tuple[str, ParameterInput]]:
    """Every parameter that ``config`` refers to, with its field's path."""
    for index, mount in enumerate(config.pvc_mount):
        if (source := claim_parameter(mount)) is not None:
            yield f"pvcMount.{index}", source
    named: Mapping[str, tuple[ParameterInput | None, ...]] = {
        "secretAsVolume": tuple(each.secret_name_parameter for each in config.secret_as_volume),
        "secretAsEnv": tuple(each.secret_name_parameter for each in config.secret_as_env),
        "configMapAsVolume": tuple(each.config_map_name_parameter for each in config.config_map_as_volume),
        "configMapAsEnv": tuple(each.config_map_name_parameter for each in config.config_map_as_env),
        "imagePullSecret": tuple(each.secret_name_parameter for each in config.image_pull_secret),
        "tolerations": tuple(each.toleration_json for each in config.tolerations),
        "nodeAffinity": tuple(each.node_affinity_json for each in config.node_affinity),
    }
    for field, sources in named.items():
        for index, source in enumerate(sources):
            if source is not None:
                yield f"{field}.{index}", source
    if config.node_selector and config.node_selector.node_selector_json:
        yield "nodeSelector.nodeSelectorJson", config.node_selector.node_selector_json


def input_candidates(name: str) -> Iterator[tuple[str, str]]:
    """The inputs around the task that ``name`` may mean, likeliest first, and the key to take from their value.

    The compiler leaves the prefix of inputs of a sub-DAG off where a loop's item is meant, and appends the key of what
    is taken from it: ``loop-item-param-2-subvar-a``.
    """
    yield name, ""
    yield _PREFIX + name, ""
    item, _, key = name.partition(_KEY_OF_ITEM)
    if key:
        yield item, key
        yield _PREFIX + item, key
