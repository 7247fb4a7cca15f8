"""TaskConfig: what a task was given for its pod, handed to its code, and taken from the pod unless both are to have it.

Pure. Works on the finished settings of a pod, so that it knows none of them by name.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from ketch.kube.codec import encode
from ketch.kube.types.containers import Container, ResourceRequirements, VolumeMount
from ketch.kube.types.pods import Pod
from ketch.kube.types.volumes import Volume
from ketch.pipelines.ir.spec import ComponentSpec, ParameterType
from ketch.pipelines.steps.step import Step

RESOURCES: Final = "RESOURCES"
ENV: Final = "ENV"
AFFINITY: Final = "KUBERNETES_AFFINITY"
TOLERATIONS: Final = "KUBERNETES_TOLERATIONS"
NODE_SELECTOR: Final = "KUBERNETES_NODE_SELECTOR"
VOLUMES: Final = "KUBERNETES_VOLUMES"

_NUMBERS: Final = ("", RESOURCES, ENV, AFFINITY, TOLERATIONS, NODE_SELECTOR, VOLUMES)  # the enumeration's order


def config_input(component: ComponentSpec) -> str:
    """The component's input of type TaskConfig; empty when it has none."""
    for name, parameter in component.input_definitions.parameters.items():
        if parameter.parameter_type is ParameterType.TASK_CONFIG:
            return name
    return ""


def passed_through(step: Step, pod: Pod, own_env: frozenset[str]) -> tuple[Mapping[str, Any], Pod]:
    """The TaskConfig, and the pod without what is only for it. ``own_env`` are variables that are not the user's."""
    config: dict[str, Any] = {}
    for passthrough in step.component.task_config_passthroughs:
        field = _field(passthrough.get("field"))
        config |= {key: value for key, value in _taken(field, pod, own_env).items() if value}
        if not passthrough.get("applyToTask"):
            pod = _without(field, pod, own_env)
    return config, pod


def _field(name: Any) -> str:
    return _NUMBERS[name] if isinstance(name, int) and 0 <= name < len(_NUMBERS) else str(name)


def _taken(field: str, pod: Pod, own_env: frozenset[str]) -> Mapping[str, Any]:
    spec, main = encode(pod.spec), pod.spec.containers[0]
    match field:
        case "RESOURCES":
            return {"resources": encode(main.resources)}
        case "ENV":
            return {"env": [encode(variable) for variable in main.env if variable.name not in own_env]}
        case "KUBERNETES_AFFINITY":
            return {"affinity": spec.get("affinity")}
        case "KUBERNETES_TOLERATIONS":
            return {"tolerations": spec.get("tolerations")}
        case "KUBERNETES_NODE_SELECTOR":
            return {"nodeSelector": spec.get("nodeSelector")}
        case "KUBERNETES_VOLUMES":
            volumes, mounts = _shared(pod.spec.volumes, main)
            return {"volumes": [encode(each) for each in volumes], "volumeMounts": [encode(each) for each in mounts]}
        case _:
            return {}


def _without(field: str, pod: Pod, own_env: frozenset[str]) -> Pod:
    main = pod.spec.containers[0]
    spec: dict[str, Any] = {}
    changed: dict[str, Any] = {}
    match field:
        case "RESOURCES":
            changed["resources"] = ResourceRequirements()
        case "ENV":
            changed["env"] = tuple(variable for variable in main.env if variable.name in own_env)
        case "KUBERNETES_AFFINITY":
            spec["affinity"] = cast("Mapping[str, Any]", {})
        case "KUBERNETES_TOLERATIONS":
            spec["tolerations"] = ()
        case "KUBERNETES_NODE_SELECTOR":
            spec["node_selector"] = cast("Mapping[str, str]", {})
        case "KUBERNETES_VOLUMES":
            volumes, mounts = _shared(pod.spec.volumes, main)
            spec["volumes"] = tuple(each for each in pod.spec.volumes if each not in volumes)
            changed["volume_mounts"] = tuple(each for each in main.volume_mounts if each not in mounts)
        case _:
            return pod
    main = msgspec.structs.replace(main, **changed)
    spec["containers"] = (main, *pod.spec.containers[1:])
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, **spec))


def _shared(volumes: tuple[Volume, ...], main: Container) -> tuple[list[Volume], list[VolumeMount]]:
    """What another pod can mount as well, with its places; a directory of the pod's own is of no use there."""
    shared = [each for each in volumes if each.empty_dir is None and each.ephemeral is None and each.csi is None]
    names = {each.name for each in shared}
    return shared, [each for each in main.volume_mounts if each.name in names]
