"""Volumes made of objects, as files: ConfigMaps, Secrets, facts about the pod, tokens. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ketch.kube.types.core import Pod
from ketch.kube.types.volumes import (
    ConfigMapVolume,
    DownwardAPIFile,
    KeyToPath,
    ProjectedVolume,
    SecretVolume,
    ServiceAccountTokenProjection,
    Volume,
)
from ketch.local.node.environment import (
    ConfigError,
    Surroundings,
    config_map_bytes,
    field_value,
    resource_value,
    secret_bytes,
)

DEFAULT_MODE = 0o644


class File(NamedTuple):
    """One file of a volume."""

    content: bytes
    mode: int


Files = Mapping[str, File]
"""Files by their path below the volume."""

Token = Callable[[ServiceAccountTokenProjection], bytes]
"""The token that a projection asks for, which was fetched before."""


def _chosen(
    values: Mapping[str, bytes], items: Sequence[KeyToPath], mode: int, what: str, *, optional: bool
) -> dict[str, File]:
    if not items:
        return {key: File(value, mode) for key, value in values.items()}
    files: dict[str, File] = {}
    for item in items:
        if item.key in values:
            files[item.path] = File(values[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise ConfigError(f"references non-existent {what} key: {item.key}")
    return files


def config_map_files(source: ConfigMapVolume, around: Surroundings, mode: int) -> dict[str, File]:
    """A ConfigMap's keys. Raises ConfigError."""
    found = around.config_maps.get(source.name)
    if found is None:
        if source.optional:
            return {}
        raise ConfigError(f'configmap "{source.name}" not found')
    return _chosen(config_map_bytes(found), source.items, mode, "config", optional=bool(source.optional))


def secret_files(
    name: str, items: Sequence[KeyToPath], around: Surroundings, mode: int, *, optional: bool
) -> dict[str, File]:
    """A Secret's keys. Raises ConfigError."""
    found = around.secrets.get(name)
    if found is None:
        if optional:
            return {}
        raise ConfigError(f'secret "{name}" not found')
    return _chosen(secret_bytes(found), items, mode, "secret", optional=optional)


def downward_files(pod: Pod, items: Sequence[DownwardAPIFile], around: Surroundings, mode: int) -> dict[str, File]:
    """Facts about the pod. Raises ConfigError."""
    files: dict[str, File] = {}
    for item in items:
        if item.field_ref is not None:
            text = field_value(pod, item.field_ref.field_path, around)
        elif item.resource_field_ref is not None:
            text = resource_value(pod, pod.spec.containers[0], item.resource_field_ref, around)
        else:
            continue
        files[item.path] = File(text.encode(), mode if item.mode is None else item.mode)
    return files


def _projected(pod: Pod, source: ProjectedVolume, around: Surroundings, token: Token) -> dict[str, File]:
    mode = DEFAULT_MODE if source.default_mode is None else source.default_mode
    files: dict[str, File] = {}
    for part in source.sources:
        if part.config_map is not None:
            files |= config_map_files(part.config_map, around, mode)
        elif (secret := part.secret) is not None:
            files |= secret_files(secret.name, secret.items, around, mode, optional=bool(secret.optional))
        elif part.downward_api is not None:
            files |= downward_files(pod, part.downward_api.items, around, mode)
        elif part.service_account_token is not None:
            files[part.service_account_token.path] = File(token(part.service_account_token), mode)
    return files


def is_payload(volume: Volume) -> bool:
    """Whether the volume is made of objects."""
    sources = (volume.config_map, volume.secret, volume.projected, volume.downward_api)
    return any(source is not None for source in sources)


def payload(pod: Pod, volume: Volume, around: Surroundings, token: Token) -> Files:
    """The files of ``volume``. Raises ConfigError, which says what is missing."""
    if volume.config_map is not None:
        return config_map_files(volume.config_map, around, _mode(volume.config_map))
    if (secret := volume.secret) is not None:
        return secret_files(secret.secret_name, secret.items, around, _mode(secret), optional=bool(secret.optional))
    if volume.downward_api is not None:
        mode = volume.downward_api.default_mode
        return downward_files(pod, volume.downward_api.items, around, DEFAULT_MODE if mode is None else mode)
    if volume.projected is not None:
        return _projected(pod, volume.projected, around, token)
    return {}


def _mode(source: ConfigMapVolume | SecretVolume) -> int:
    return DEFAULT_MODE if source.default_mode is None else source.default_mode


def token_projections(volume: Volume) -> list[ServiceAccountTokenProjection]:
    """The tokens that ``volume`` carries."""
    if volume.projected is None:
        return []
    return [part.service_account_token for part in volume.projected.sources if part.service_account_token is not None]
