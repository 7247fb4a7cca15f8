"""KubernetesExecutorConfig and its parts as frozen structs; names and meaning as in kubernetes_executor_config.proto.

A name that may come from a parameter stands twice on the wire: as text (the old form) and as ``*_parameter``, which
goes first. A 64-bit integer comes as number or, as protobuf's JSON writes it, as text.
"""

from collections.abc import Mapping
from typing import Any

from ketch.pipelines.ir.spec import JSONObject, Message, ParameterInput, TaskOutputParameter

Integer = int | str

_NONE: Mapping[str, Any] = {}
_NO_TEXTS: Mapping[str, str] = {}


class SecretAsVolume(Message, frozen=True):
    """A Secret's keys as files below ``mount_path``."""

    secret_name: str = ""
    mount_path: str = ""
    optional: bool | None = None
    secret_name_parameter: ParameterInput | None = None


class SecretKeyToEnv(Message, frozen=True):
    """A Secret's key and the variable that gets its value."""

    secret_key: str = ""
    env_var: str = ""


class SecretAsEnv(Message, frozen=True):
    """Keys of a Secret as environment variables."""

    secret_name: str = ""
    key_to_env: tuple[SecretKeyToEnv, ...] = ()
    optional: bool | None = None
    secret_name_parameter: ParameterInput | None = None


class ConfigMapAsVolume(Message, frozen=True):
    """A ConfigMap's keys as files below ``mount_path``."""

    config_map_name: str = ""
    mount_path: str = ""
    optional: bool | None = None
    config_map_name_parameter: ParameterInput | None = None


class ConfigMapKeyToEnv(Message, frozen=True):
    """A ConfigMap's key and the variable that gets its value."""

    config_map_key: str = ""
    env_var: str = ""


class ConfigMapAsEnv(Message, frozen=True):
    """Keys of a ConfigMap as environment variables."""

    config_map_name: str = ""
    key_to_env: tuple[ConfigMapKeyToEnv, ...] = ()
    config_map_name_parameter: ParameterInput | None = None
    optional: bool | None = None


class PvcMount(Message, frozen=True):
    """A PersistentVolumeClaim mounted at ``mount_path``; its name in one of four forms."""

    task_output_parameter: TaskOutputParameter | None = None
    constant: str | None = None
    component_input_parameter: str | None = None
    mount_path: str = ""
    pvc_name_parameter: ParameterInput | None = None
    sub_path: str = ""


class NodeSelector(Message, frozen=True):
    """Labels that the node must have; the JSON form goes first."""

    labels: Mapping[str, str] = _NO_TEXTS
    node_selector_json: ParameterInput | None = None


class PodMetadata(Message, frozen=True):
    """Labels and annotations."""

    labels: Mapping[str, str] = _NO_TEXTS
    annotations: Mapping[str, str] = _NO_TEXTS


class ImagePullSecret(Message, frozen=True):
    """A Secret with credentials for the image's registry."""

    secret_name: str = ""
    secret_name_parameter: ParameterInput | None = None


class FieldPathAsEnv(Message, frozen=True):
    """A field of the pod itself as an environment variable."""

    name: str = ""
    field_path: str = ""


class Toleration(Message, frozen=True):
    """A taint that the pod bears; the JSON form (one or a list) goes first."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: Integer | None = None
    toleration_json: ParameterInput | None = None


class SelectorRequirement(Message, frozen=True):
    """A condition on a label or field."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class NodeAffinityTerm(Message, frozen=True):
    """A term of the node affinity: required, or preferred when it has a weight; or a whole affinity as JSON."""

    match_expressions: tuple[SelectorRequirement, ...] = ()
    match_fields: tuple[SelectorRequirement, ...] = ()
    weight: int | None = None
    node_affinity_json: ParameterInput | None = None


class PodAffinityTerm(Message, frozen=True):
    """A term of the affinity (or anti-affinity) to other pods: required, or preferred when it has a weight."""

    match_pod_expressions: tuple[SelectorRequirement, ...] = ()
    match_pod_labels: Mapping[str, str] = _NO_TEXTS
    topology_key: str = ""
    namespaces: tuple[str, ...] = ()
    match_namespace_expressions: tuple[SelectorRequirement, ...] = ()
    match_namespace_labels: Mapping[str, str] = _NO_TEXTS
    weight: int | None = None
    anti: bool | None = None


class GenericEphemeralVolume(Message, frozen=True):
    """A volume with a claim of its own that lives as long as the pod."""

    volume_name: str = ""
    mount_path: str = ""
    access_modes: tuple[str, ...] = ()
    size: str = ""
    default_storage_class: bool = False
    storage_class_name: str = ""
    metadata: PodMetadata = PodMetadata()


class EnabledSharedMemory(Message, frozen=True):
    """Memory at /dev/shm of the size ``size``."""

    volume_name: str = ""
    size: str = ""


class EmptyDirMount(Message, frozen=True):
    """A directory that lives as long as the pod."""

    volume_name: str = ""
    mount_path: str = ""
    medium: str | None = None
    size_limit: str | None = None


class SecurityContext(Message, frozen=True):
    """Who the container's process is."""

    run_as_user: Integer | None = None
    run_as_group: Integer | None = None
    run_as_non_root: bool | None = None


class InitEnvVar(Message, frozen=True):
    """A variable of an init container."""

    name: str = ""
    value: str = ""


class InitVolumeMount(Message, frozen=True):
    """A volume that another setting defines, mounted into an init container."""

    volume_name: str = ""
    mount_path: str = ""


class InitResources(Message, frozen=True):
    """What an init container asks for and may use, by resource."""

    requests: Mapping[str, str] = _NO_TEXTS
    limits: Mapping[str, str] = _NO_TEXTS


class InitContainer(Message, frozen=True):
    """A container that runs before the step or, with restart policy ``Always``, beside it."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[InitEnvVar, ...] = ()
    volume_mounts: tuple[InitVolumeMount, ...] = ()
    restart_policy: str | None = None
    resources: InitResources = InitResources()


class ExecutorConfig(Message, frozen=True):
    """All that may be set for one executor."""

    secret_as_volume: tuple[SecretAsVolume, ...] = ()
    secret_as_env: tuple[SecretAsEnv, ...] = ()
    pvc_mount: tuple[PvcMount, ...] = ()
    node_selector: NodeSelector | None = None
    pod_metadata: PodMetadata = PodMetadata()
    image_pull_secret: tuple[ImagePullSecret, ...] = ()
    image_pull_policy: str = ""
    config_map_as_volume: tuple[ConfigMapAsVolume, ...] = ()
    config_map_as_env: tuple[ConfigMapAsEnv, ...] = ()
    active_deadline_seconds: Integer = 0
    field_path_as_env: tuple[FieldPathAsEnv, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    generic_ephemeral_volume: tuple[GenericEphemeralVolume, ...] = ()
    node_affinity: tuple[NodeAffinityTerm, ...] = ()
    pod_affinity: tuple[PodAffinityTerm, ...] = ()
    enabled_shared_memory: EnabledSharedMemory | None = None
    empty_dir_mounts: tuple[EmptyDirMount, ...] = ()
    security_context: SecurityContext | None = None
    init_containers: tuple[InitContainer, ...] = ()
    pod_resource_claims: tuple[JSONObject, ...] = ()


class DeploymentSpec(Message, frozen=True):
    """Configurations by executor label."""

    executors: Mapping[str, ExecutorConfig] = _NONE


class KubernetesSpec(Message, frozen=True):
    """What a pipeline asks of Kubernetes. ``pipeline_config`` concerns the run as a whole and is read elsewhere."""

    deployment_spec: DeploymentSpec = DeploymentSpec()
    platform: str = ""
    config: JSONObject = _NONE
    pipeline_config: JSONObject = _NONE
