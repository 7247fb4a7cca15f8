"""What a configuration's types cannot say. Every error names the field and what to do."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.pipelines.ir.reading import SpecError
from ketch.pipelines.kubernetes.sources import claim_parameter
from ketch.pipelines.kubernetes.spec import ExecutorConfig, InitContainer, SelectorRequirement
from ketch.pipelines.kubernetes.volumes import SHARED_MEMORY

RESERVED_NAMES: Final = frozenset({"main", "kfp-launcher", "wait", "init"})
"""Names of containers that run beside the step here or upstream."""

RESERVED_LABELS: Final = ("pipelines.kubeflow.org/run-id", "pipelines.kubeflow.org/task-id")
"""Labels by which a step's pod is found again."""

_PULL_POLICIES: Final = ("Always", "Never", "IfNotPresent")
_ACCESS_MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_MEDIA: Final = re.compile(r"^(|Memory|HugePages(-\w+)?)$")
_TOLERATION_OPERATORS: Final = ("", "Equal", "Exists", "Lt", "Gt")
_EFFECTS: Final = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_LABEL_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")
_LARGEST_WEIGHT: Final = 100
_VARIABLE: Final = re.compile(r"^[^=\0]+$")
_CONTAINER_NAME: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_FIELD: Final = re.compile(
    r"^(metadata\.(name|namespace|uid|labels|annotations)|metadata\.(labels|annotations)\['[^']+'\]"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$"
)


def check_executor(path: str, config: ExecutorConfig) -> None:
    """Hold ``config``, which stands at ``path``, against the rules. Raises SpecError."""
    for check in (_check_names, _check_variables, _check_mounts, _check_sizes, _check_placement, _check_process):
        for field, message in check(config):
            raise SpecError(f"{path}.{field}", message)


_Problems = Iterator[tuple[str, str]]


def _check_names(config: ExecutorConfig) -> _Problems:
    """Secrets, config maps and claims are named, one way or the other."""
    named: Mapping[str, Iterable[Any]] = {
        "secretAsVolume": ((each.secret_name, each.secret_name_parameter) for each in config.secret_as_volume),
        "secretAsEnv": ((each.secret_name, each.secret_name_parameter) for each in config.secret_as_env),
        "imagePullSecret": ((each.secret_name, each.secret_name_parameter) for each in config.image_pull_secret),
    }
    for field, several in named.items():
        for index, (name, parameter) in enumerate(several):
            if not name and parameter is None:
                yield f"{field}.{index}", "must have secretNameParameter or secretName"
    maps = {"configMapAsVolume": config.config_map_as_volume, "configMapAsEnv": config.config_map_as_env}
    for field, configs in maps.items():
        for index, each in enumerate(configs):
            if not each.config_map_name and each.config_map_name_parameter is None:
                yield f"{field}.{index}", "must have configMapNameParameter or configMapName"
    for index, mount in enumerate(config.pvc_mount):
        if claim_parameter(mount) is None:
            yield f"pvcMount.{index}", "must have pvcNameParameter"


def _check_variables(config: ExecutorConfig) -> _Problems:
    for index, secret in enumerate(config.secret_as_env):
        for number, each in enumerate(secret.key_to_env):
            where = f"secretAsEnv.{index}.keyToEnv.{number}"
            if not each.secret_key:
                yield f"{where}.secretKey", "must name a key of the secret"
            yield from _variable(f"{where}.envVar", each.env_var)
    for index, config_map in enumerate(config.config_map_as_env):
        for number, entry in enumerate(config_map.key_to_env):
            where = f"configMapAsEnv.{index}.keyToEnv.{number}"
            if not entry.config_map_key:
                yield f"{where}.configMapKey", "must name a key of the config map"
            yield from _variable(f"{where}.envVar", entry.env_var)
    for index, field in enumerate(config.field_path_as_env):
        yield from _variable(f"fieldPathAsEnv.{index}.name", field.name)
        if not _FIELD.match(field.field_path):
            known = "metadata.name, .namespace, .uid, .labels['KEY'], .annotations['KEY'], spec.nodeName,"
            message = f"{field.field_path!r} is none of {known} spec.serviceAccountName, status.hostIP, status.podIP"
            yield f"fieldPathAsEnv.{index}.fieldPath", message


def _variable(path: str, name: str) -> _Problems:
    if not _VARIABLE.match(name):
        yield path, f"{name!r} is no name of an environment variable"


def _check_mounts(config: ExecutorConfig) -> _Problems:
    """Paths are absolute and each is used once; names of the pod's own volumes are given and differ."""
    mounted: Mapping[str, Iterable[str]] = {
        "secretAsVolume": (each.mount_path for each in config.secret_as_volume),
        "configMapAsVolume": (each.mount_path for each in config.config_map_as_volume),
        "pvcMount": (each.mount_path for each in config.pvc_mount),
        "genericEphemeralVolume": (each.mount_path for each in config.generic_ephemeral_volume),
        "emptyDirMounts": (each.mount_path for each in config.empty_dir_mounts),
    }
    seen = {SHARED_MEMORY: "enabledSharedMemory"} if config.enabled_shared_memory else dict[str, str]()
    for field, paths in mounted.items():
        for index, path in enumerate(paths):
            where = f"{field}.{index}.mountPath"
            yield from _mount_path(where, path)
            if (other := seen.setdefault(path.rstrip("/"), where)) != where:
                yield where, f"{path} is taken by {other}"
    for index, mount in enumerate(config.pvc_mount):
        if mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/"):
            yield f"pvcMount.{index}.subPath", f"{mount.sub_path!r} must be relative and must not contain '..'"
    volumes: Mapping[str, Iterable[str]] = {
        "genericEphemeralVolume": (each.volume_name for each in config.generic_ephemeral_volume),
        "emptyDirMounts": (each.volume_name for each in config.empty_dir_mounts),
    }
    known: dict[str, str] = {}
    for field, names in volumes.items():
        for index, name in enumerate(names):
            where = f"{field}.{index}.volumeName"
            if not _CONTAINER_NAME.match(name):
                yield where, f"{name!r} must be at most 63 lower case letters, digits and dashes"
            if field == "genericEphemeralVolume" and name in known:
                yield where, f"{name!r} is taken by {known[name]}"
            known.setdefault(name, where)


def _mount_path(where: str, path: str) -> _Problems:
    if not path.startswith("/") or ":" in path:
        yield where, f"{path!r} must be an absolute path without a colon"


def _check_sizes(config: ExecutorConfig) -> _Problems:
    for index, volume in enumerate(config.generic_ephemeral_volume):
        where = f"genericEphemeralVolume.{index}"
        yield from _quantity(f"{where}.size", volume.size)
        yield from _one_of(f"{where}.accessModes", volume.access_modes, _ACCESS_MODES)
        if not volume.access_modes:
            yield f"{where}.accessModes", f"must name at least one of {', '.join(_ACCESS_MODES)}"
    for index, mount in enumerate(config.empty_dir_mounts):
        if mount.size_limit:
            yield from _quantity(f"emptyDirMounts.{index}.sizeLimit", mount.size_limit)
        if not _MEDIA.match(mount.medium or ""):
            yield f"emptyDirMounts.{index}.medium", f"{mount.medium!r} is neither Memory nor HugePages"
    if (shared := config.enabled_shared_memory) is not None and shared.size:
        yield from _quantity("enabledSharedMemory.size", shared.size)


def _check_placement(config: ExecutorConfig) -> _Problems:
    for index, toleration in enumerate(config.tolerations):
        where = f"tolerations.{index}"
        yield from _one_of(f"{where}.operator", [toleration.operator], _TOLERATION_OPERATORS)
        yield from _one_of(f"{where}.effect", [toleration.effect], _EFFECTS)
        if not toleration.key and toleration.operator != "Exists" and toleration.toleration_json is None:
            yield f"{where}.operator", "must be Exists when there is no key"
        yield from _integer(f"{where}.tolerationSeconds", toleration.toleration_seconds)
    for index, term in enumerate(config.node_affinity):
        where = f"nodeAffinity.{index}"
        yield from _requirements(f"{where}.matchExpressions", term.match_expressions, _NODE_OPERATORS)
        yield from _requirements(f"{where}.matchFields", term.match_fields, _NODE_OPERATORS)
        yield from _weight(f"{where}.weight", term.weight)
    for index, pods in enumerate(config.pod_affinity):
        where = f"podAffinity.{index}"
        if not pods.topology_key:
            yield f"{where}.topologyKey", "must name a label of nodes"
        yield from _requirements(f"{where}.matchPodExpressions", pods.match_pod_expressions, _LABEL_OPERATORS)
        yield from _requirements(
            f"{where}.matchNamespaceExpressions", pods.match_namespace_expressions, _LABEL_OPERATORS
        )
        yield from _weight(f"{where}.weight", pods.weight)
    for index, _ in enumerate(config.pod_resource_claims):
        yield f"podResourceClaims.{index}", "dynamic resource allocation is not supported; use accelerators"


def _check_process(config: ExecutorConfig) -> _Problems:
    yield from _one_of("imagePullPolicy", [config.image_pull_policy], ("", *_PULL_POLICIES))
    yield from _integer("activeDeadlineSeconds", config.active_deadline_seconds)
    if (context := config.security_context) is not None:
        yield from _integer("securityContext.runAsUser", context.run_as_user)
        yield from _integer("securityContext.runAsGroup", context.run_as_group)
    for label in config.pod_metadata.labels:
        if label in RESERVED_LABELS:
            yield f"podMetadata.labels.{label}", "is the platform's own label"
    names: set[str] = set()
    for index, each in enumerate(config.init_containers):
        yield from _init_container(f"initContainers.{index}", each, names)
        names.add(each.name)


def _init_container(where: str, each: InitContainer, others: set[str]) -> _Problems:
    if not _CONTAINER_NAME.match(each.name):
        yield f"{where}.name", f"{each.name!r} must be at most 63 lower case letters, digits and dashes"
    if each.name in RESERVED_NAMES | others:
        yield f"{where}.name", f"{each.name!r} is taken"
    if not each.image:
        yield f"{where}.image", "must name an image"
    if each.restart_policy not in (None, "", "Always"):
        yield f"{where}.restartPolicy", f'{each.restart_policy!r} is unknown: only "Always" (a sidecar) may be set'
    for number, variable in enumerate(each.env):
        yield from _variable(f"{where}.env.{number}.name", variable.name)
    for number, mount in enumerate(each.volume_mounts):
        yield from _mount_path(f"{where}.volumeMounts.{number}.mountPath", mount.mount_path)
    for kind, amounts in (("requests", each.resources.requests), ("limits", each.resources.limits)):
        for resource, amount in amounts.items():
            yield from _quantity(f"{where}.resources.{kind}.{resource}", amount)


def _requirements(path: str, requirements: Iterable[SelectorRequirement], operators: tuple[str, ...]) -> _Problems:
    for index, each in enumerate(requirements):
        if not each.key:
            yield f"{path}.{index}.key", "must not be empty"
        yield from _one_of(f"{path}.{index}.operator", [each.operator], operators)


def _weight(path: str, weight: int | None) -> _Problems:
    if weight is not None and not 1 <= weight <= _LARGEST_WEIGHT:
        yield path, f"{weight} is not between 1 and {_LARGEST_WEIGHT}"


def _one_of(path: str, values: Iterable[str], known: tuple[str, ...]) -> _Problems:
    for value in values:
        if value not in known:
            yield path, f"{value!r} is none of {', '.join(each for each in known if each)}"


def _integer(path: str, value: int | str | None) -> _Problems:
    if isinstance(value, str) and not value.isdecimal():
        yield path, f"{value!r} is no whole number that is 0 or more"
    elif isinstance(value, int) and value < 0:
        yield path, f"{value} must be 0 or more"


def _quantity(path: str, text: str) -> _Problems:
    try:
        parse_quantity(text)
    except QuantityError as error:
        yield path, f"{text!r} is no quantity such as 5Gi: {error}"
