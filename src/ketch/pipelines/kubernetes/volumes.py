"""Volumes that the settings ask for, and where the step finds them. Pure.

A source that is used twice is one volume with two mounts. A volume is called like what stands behind it, as far as a
volume can be called so; a name that another source has taken gets a number.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.containers import ResourceRequirements, VolumeMount
from ketch.kube.types.volumes import (
    ClaimSpec,
    ClaimTemplate,
    ClaimVolume,
    ConfigMapVolume,
    EmptyDirVolume,
    EphemeralVolume,
    SecretVolume,
    Volume,
)
from ketch.pipelines.kubernetes.sources import Find, SettingProblem, claim_parameter, text_value
from ketch.pipelines.kubernetes.spec import EmptyDirMount, ExecutorConfig, GenericEphemeralVolume

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  # the place itself, not a file in it
MEMORY: Final = "Memory"
_SHARED_NAME: Final = "shm"

_LONGEST_NAME: Final = 63
_OF_THE_STEP: Final = re.compile(r"outputs|(input|file)-\d+|(carried|kfp|ketch)-.*")
"""Names of the volumes that carry a step's data."""

_USERS: Final = "users-"

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9-]+")


class Mounted(msgspec.Struct, frozen=True):
    """Volumes and their mounts in the step's container."""

    volumes: tuple[Volume, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()


class _Found(NamedTuple):
    """A volume under the name that it should have, and one place where it is wanted."""

    volume: Volume
    path: str
    sub_path: str = ""


class Names:
    """Names of volumes, each given once."""

    def __init__(self, taken: set[str] | None = None) -> None:
        self._taken: set[str] = set(taken or ())
        self._given: dict[str, str] = {}

    def take(self, wanted: str) -> str:
        """A free name as close to ``wanted`` as volumes' names can be."""
        base = name = label(f"{_USERS}{wanted}" if _OF_THE_STEP.fullmatch(label(wanted)) else wanted)
        number = 2
        while name in self._taken:
            suffix = f"-{number}"
            name = f"{base[: _LONGEST_NAME - len(suffix)]}{suffix}"
            number += 1
        self._taken.add(name)
        self._given.setdefault(wanted, name)
        return name

    def given(self, wanted: str) -> str | None:
        """The name that was first given for ``wanted``."""
        return self._given.get(wanted)


def label(wanted: str) -> str:
    """``wanted`` as a DNS label; with a hash when it says something else after that."""
    name = _NOT_IN_NAMES.sub("-", wanted.lower()).strip("-")
    if len(name) <= _LONGEST_NAME and name:
        return name
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9]}-{digest}".strip("-")


def mounted(config: ExecutorConfig, find: Find, names: Names) -> Mounted:
    """All volumes that ``config`` asks for. Raises SettingProblem."""
    found = [
        *_claims(config, find),
        *_secrets(config, find),
        *_config_maps(config, find),
        *(_Found(_ephemeral(each), each.mount_path) for each in config.generic_ephemeral_volume),
        *(_Found(_empty(each), each.mount_path) for each in config.empty_dir_mounts),
    ]
    if (shared := config.enabled_shared_memory) is not None:
        memory = EmptyDirVolume(medium=MEMORY, size_limit=shared.size or None)
        found.append(_Found(Volume(name=shared.volume_name or _SHARED_NAME, empty_dir=memory), SHARED_MEMORY))
    return _merged(found, names)


def _merged(found: list[_Found], names: Names) -> Mounted:
    """Equal sources become one volume; mounts get the volumes' names."""
    volumes: dict[bytes, Volume] = {}
    mounts: list[VolumeMount] = []
    for volume, path, sub_path in found:
        key = msgspec.json.encode(volume)
        if key not in volumes:
            volumes[key] = msgspec.structs.replace(volume, name=names.take(volume.name))
        mounts.append(VolumeMount(name=volumes[key].name, mount_path=path, sub_path=sub_path))
    return Mounted(tuple(volumes.values()), tuple(mounts))


def _claims(config: ExecutorConfig, find: Find) -> Iterator[_Found]:
    for each in config.pvc_mount:
        what = f"the claim to mount at {each.mount_path}"
        source = claim_parameter(each)
        if source is None:
            raise SettingProblem(f"{what}: has no name")
        name = text_value(what, "", source, find)
        if name is not None:
            volume = Volume(name=name, persistent_volume_claim=ClaimVolume(claim_name=name))
            yield _Found(volume, each.mount_path, each.sub_path)


def _secrets(config: ExecutorConfig, find: Find) -> Iterator[_Found]:
    for each in config.secret_as_volume:
        what = f"the secret to mount at {each.mount_path}"
        name = text_value(what, each.secret_name, each.secret_name_parameter, find)
        if name is not None:
            source = SecretVolume(secret_name=name, optional=bool(each.optional))
            yield _Found(Volume(name=name, secret=source), each.mount_path)


def _config_maps(config: ExecutorConfig, find: Find) -> Iterator[_Found]:
    for each in config.config_map_as_volume:
        what = f"the config map to mount at {each.mount_path}"
        name = text_value(what, each.config_map_name, each.config_map_name_parameter, find)
        if name is not None:
            source = ConfigMapVolume(name=name, optional=bool(each.optional))
            yield _Found(Volume(name=name, config_map=source), each.mount_path)


def _ephemeral(each: GenericEphemeralVolume) -> Volume:
    spec = ClaimSpec(
        access_modes=each.access_modes,
        resources=ResourceRequirements(requests={"storage": each.size}),
        storage_class_name=None if each.default_storage_class else each.storage_class_name,
    )
    metadata = ObjectMeta(labels=each.metadata.labels, annotations=each.metadata.annotations)
    template = ClaimTemplate(metadata=metadata, spec=spec)
    return Volume(name=each.volume_name, ephemeral=EphemeralVolume(volume_claim_template=template))


def _empty(each: EmptyDirMount) -> Volume:
    source = EmptyDirVolume(medium=each.medium or "", size_limit=each.size_limit or None)
    return Volume(name=each.volume_name, empty_dir=source)
