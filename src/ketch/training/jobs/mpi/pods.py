"""What both shapes do to pods: the container that counts is the first. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.containers import Container, EnvVar, VolumeMount
from ketch.kube.types.core import ConfigMap
from ketch.kube.types.pods import PodSpec, PodTemplateSpec
from ketch.kube.types.volumes import ConfigMapVolume, KeyToPath, Volume
from ketch.training.jobs.framework import Group
from ketch.training.jobs.mpi.types import LAUNCHER, MPIJob
from ketch.training.mpirun import FOLDER

CONFIG_VOLUME: Final = "mpi-job-config"
READABLE, EXECUTABLE = 0o444, 0o555
NO_DEVICES: Final = (EnvVar(name="NVIDIA_VISIBLE_DEVICES"), EnvVar(name="NVIDIA_DRIVER_CAPABILITIES"))
"""A launcher that runs no process itself takes no device from those that do."""


def app_meta(group: Group[MPIJob], suffix: str = "") -> ObjectMeta:
    """The metadata of what stands beside the pods."""
    return ObjectMeta(name=f"{group.name}{suffix}", namespace=group.namespace, labels={"app": group.name})


def config_map(group: Group[MPIJob], data: dict[str, str]) -> ConfigMap:
    """The job's files."""
    return ConfigMap(metadata=app_meta(group, "-config"), data=data)


def config_volume(group: Group[MPIJob], modes: dict[str, int]) -> Volume:
    """These of the job's files."""
    items = tuple(KeyToPath(key=name, path=name, mode=mode) for name, mode in modes.items())
    return Volume(name=CONFIG_VOLUME, config_map=ConfigMapVolume(name=f"{group.name}-config", items=items))


CONFIG_MOUNT: Final = VolumeMount(name=CONFIG_VOLUME, mount_path=FOLDER)


def slots_of(job: MPIJob) -> int:
    """Processes that a worker takes."""
    return 1 if job.spec.slots_per_worker is None else job.spec.slots_per_worker


def has_devices(template: PodTemplateSpec) -> bool:
    """Whether the launcher's own containers ask for GPUs: then it is a host of processes too."""
    return any("gpu" in name for each in template.spec.containers for name in each.resources.limits)


def launcher_has_devices(group: Group[MPIJob]) -> bool:
    """Whether the job's launcher does."""
    launcher = group.of(LAUNCHER)
    return launcher is not None and has_devices(launcher.template)


def with_first(spec: PodSpec, change: Callable[[Container], Container], volumes: Sequence[Volume] = ()) -> PodSpec:
    """The pod with its first container changed, and more volumes."""
    first, *others = spec.containers
    return msgspec.structs.replace(spec, containers=(change(first), *others), volumes=(*spec.volumes, *volumes))


def with_more(container: Container, env: Iterable[EnvVar], *mounts: VolumeMount, **changes: Any) -> Container:
    """The container with variables that it does not set itself, and with more mounts."""
    known = {each.name for each in container.env}
    added = tuple(each for each in env if each.name not in known)
    return msgspec.structs.replace(
        container, env=(*container.env, *added), volume_mounts=(*container.volume_mounts, *mounts), **changes
    )
