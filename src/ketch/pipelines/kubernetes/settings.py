"""From a configuration and the values of its parameters to the parts of a pod. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ketch.kube.types.containers import (
    Capabilities,
    Container,
    EnvVar,
    LocalReference,
    ResourceRequirements,
    SecurityContext,
    VolumeMount,
)
from ketch.kube.types.pods import Toleration
from ketch.pipelines.kubernetes.environment import variables
from ketch.pipelines.kubernetes.placement import affinity, node_selector, tolerations
from ketch.pipelines.kubernetes.sources import Find, SettingProblem, text_value
from ketch.pipelines.kubernetes.spec import ExecutorConfig, InitContainer
from ketch.pipelines.kubernetes.volumes import Mounted, Names, mounted

_NONE: Mapping[str, str] = {}
_NO_AFFINITY: Mapping[str, Any] = {}

Expand = Callable[[str], str]
"""A text with its placeholders replaced."""


class PodSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of a step's pod."""

    env: tuple[EnvVar, ...] = ()
    mounted: Mounted = Mounted()
    node_selector: Mapping[str, str] = _NONE
    tolerations: tuple[Toleration, ...] = ()
    affinity: Mapping[str, Any] = _NO_AFFINITY
    labels: Mapping[str, str] = _NONE
    annotations: Mapping[str, str] = _NONE
    pull_secrets: tuple[LocalReference, ...] = ()
    pull_policy: str = ""
    deadline: int | None = None
    security_context: SecurityContext | None = None
    init_containers: tuple[Container, ...] = ()


NO_SETTINGS: Final = PodSettings()


def settings_of(config: ExecutorConfig, find: Find, expand: Expand = str) -> PodSettings:
    """The parts of the pod that ``config`` asks for. Raises SettingProblem."""
    names = Names()
    metadata = config.pod_metadata
    volumes = mounted(config, find, names)
    return PodSettings(
        env=tuple(variables(config, find)),
        mounted=volumes,
        node_selector=node_selector(config, find),
        tolerations=tolerations(config, find),
        affinity=affinity(config, find),
        labels={key: expand(value) for key, value in metadata.labels.items()},
        annotations={key: expand(value) for key, value in metadata.annotations.items()},
        pull_secrets=_pull_secrets(config, find),
        pull_policy=config.image_pull_policy,
        deadline=int(config.active_deadline_seconds) or None,
        security_context=_security_context(config),
        init_containers=tuple(_init_container(each, names, expand) for each in config.init_containers),
    )


def claim_names(settings: PodSettings) -> list[str]:
    """The claims that the step works on: another claim is another input."""
    sources = (volume.persistent_volume_claim for volume in settings.mounted.volumes)
    return sorted(source.claim_name for source in sources if source is not None)


def _pull_secrets(config: ExecutorConfig, find: Find) -> tuple[LocalReference, ...]:
    names = (
        text_value("the image pull secret", each.secret_name, each.secret_name_parameter, find)
        for each in config.image_pull_secret
    )
    return tuple(LocalReference(name=name) for name in dict.fromkeys(names) if name is not None)


def _security_context(config: ExecutorConfig) -> SecurityContext | None:
    """Who the process is; a container that says so gets no capability, as the SDK documents."""
    wanted = config.security_context
    if wanted is None:
        return None
    return SecurityContext(
        run_as_user=None if wanted.run_as_user is None else int(wanted.run_as_user),
        run_as_group=None if wanted.run_as_group is None else int(wanted.run_as_group),
        run_as_non_root=wanted.run_as_non_root,
        capabilities=Capabilities(drop=("ALL",)),
    )


def _init_container(each: InitContainer, names: Names, expand: Expand) -> Container:
    mounts: list[VolumeMount] = []
    for mount in each.volume_mounts:
        volume = names.given(mount.volume_name)
        if volume is None:
            raise SettingProblem(f"init container {each.name}: no setting defines the volume {mount.volume_name!r}")
        mounts.append(VolumeMount(name=volume, mount_path=mount.mount_path))
    return Container(
        name=each.name,
        image=expand(each.image),
        command=tuple(expand(word) for word in each.command),
        args=tuple(expand(word) for word in each.args),
        env=tuple(EnvVar(name=item.name, value=expand(item.value)) for item in each.env),
        volume_mounts=tuple(mounts),
        resources=ResourceRequirements(requests=each.resources.requests, limits=each.resources.limits),
        restart_policy=each.restart_policy or None,
        termination_message_policy="FallbackToLogsOnError",
    )
