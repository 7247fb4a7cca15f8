"""Settings into a pod. Pure: what the pod has stays, what it and the settings both name comes from the settings.

Labels and annotations are the other way round: those that a run's machinery goes by are never replaced.
"""

from collections.abc import Iterable

import msgspec

from ketch.kube.types.containers import Container, EnvVar, VolumeMount
from ketch.kube.types.pods import Pod
from ketch.kube.types.volumes import Volume
from ketch.pipelines.kubernetes.settings import PodSettings
from ketch.pipelines.kubernetes.volumes import Names


def apply(pod: Pod, settings: PodSettings) -> Pod:
    """``pod`` with ``settings``; its first container is the step's."""
    volumes, names = _renamed(pod, settings)
    main, *others = pod.spec.containers
    spec = msgspec.structs.replace(
        pod.spec,
        containers=(_with(main, settings, names), *others),
        init_containers=(*pod.spec.init_containers, *(_mounting(each, names) for each in settings.init_containers)),
        volumes=(*pod.spec.volumes, *volumes),
        node_selector={**pod.spec.node_selector, **settings.node_selector},
        tolerations=(*pod.spec.tolerations, *settings.tolerations),
        affinity=settings.affinity or pod.spec.affinity,
        image_pull_secrets=(*pod.spec.image_pull_secrets, *settings.pull_secrets),
        active_deadline_seconds=settings.deadline or pod.spec.active_deadline_seconds,
    )
    metadata = msgspec.structs.replace(
        pod.metadata,
        labels={**settings.labels, **pod.metadata.labels},
        annotations={**settings.annotations, **pod.metadata.annotations},
    )
    return msgspec.structs.replace(pod, metadata=metadata, spec=spec)


def _renamed(pod: Pod, settings: PodSettings) -> tuple[list[Volume], dict[str, str]]:
    """The settings' volumes under names that the pod does not have yet, and the new names by the old."""
    free = Names({volume.name for volume in pod.spec.volumes})
    volumes: list[Volume] = []
    names: dict[str, str] = {}
    for volume in settings.mounted.volumes:
        names[volume.name] = free.take(volume.name)
        volumes.append(msgspec.structs.replace(volume, name=names[volume.name]))
    return volumes, names


def _with(main: Container, settings: PodSettings, names: dict[str, str]) -> Container:
    return msgspec.structs.replace(
        main,
        env=_last_wins((*main.env, *settings.env)),
        volume_mounts=(*main.volume_mounts, *(_mount(each, names) for each in settings.mounted.mounts)),
        image_pull_policy=settings.pull_policy or main.image_pull_policy,
        security_context=settings.security_context or main.security_context,
    )


def _mounting(container: Container, names: dict[str, str]) -> Container:
    mounts = tuple(_mount(each, names) for each in container.volume_mounts)
    return msgspec.structs.replace(container, volume_mounts=mounts)


def _mount(mount: VolumeMount, names: dict[str, str]) -> VolumeMount:
    return msgspec.structs.replace(mount, name=names[mount.name])


def _last_wins(variables: Iterable[EnvVar]) -> tuple[EnvVar, ...]:
    """Each name once: a list in which it stands twice is refused by the API."""
    found: dict[str, EnvVar] = {}
    for variable in variables:
        found.pop(variable.name, None)  # it takes the later place, where what it refers to is known
        found[variable.name] = variable
    return tuple(found.values())
