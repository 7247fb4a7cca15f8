"""A step's pod with what carries its data: directories, an init container that fetches, a sidecar that delivers. Pure.

The sidecar is told of the step's end by SIGTERM, as every sidecar is, and uploads then; the main container starts once
the sidecar hears. Its exit code says whether the step's outputs are whole: see ``undelivered``.
"""

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from ketch.kube.types.containers import (
    Container,
    ContainerStatus,
    EnvVar,
    EnvVarSource,
    ExecAction,
    KeySelector,
    Probe,
    ResourceRequirements,
    VolumeMount,
)
from ketch.kube.types.pods import Pod
from ketch.kube.types.volumes import EmptyDirVolume, HostPathVolume, Volume
from ketch.pipelines.steps.layout import WORKSPACE_PATH, data_path, in_workspace
from ketch.pipelines.steps.step import PodProblem, Step
from ketch.pipelines.transfer.sources import FILE, READY, STORES, Carriage, Source

FETCH: Final = "ketch-fetch"
DELIVER: Final = "ketch-deliver"
_COMMAND: Final = ("python3", "-m", "ketch.pipelines.transfer")
_VARIABLE: Final = "KETCH_STORE_{}_{}"
_RESOURCES: Final = ResourceRequirements(requests={"cpu": "10m", "memory": "64Mi"})
_STARTUP_SECONDS: Final = 300
_CREDENTIALS: Final = ("AWS_", "AZURE_", "GOOGLE_")
_FOUR_PARTS: Final = 4  # /kfp-workspace/.artifacts/<scheme>: and its parent


def carried(step: Step, pod: Pod) -> Pod:
    """The pod with what its data needs beyond mounts of the store that is here. Raises PodProblem."""
    carriage = step.carriage
    uris = list(dict.fromkeys(_input_uris(step)))
    if model := next((uri for uri in uris if uri.startswith("oci://")), None):
        raise PodProblem(
            f"the input {model} is an image: models in images (oci://) cannot be read here; "
            f"import the model from a bucket or from a web address instead"
        )
    fetched = [uri for uri in uris if carriage.is_carried(uri)]
    delivers = carriage.is_remote(step.place.uri)
    files = [uri for uri in uris if uri.startswith(f"{FILE}://")]
    if not fetched and not delivers:
        return _with(pod, *_of_files(files)) if files else pod
    involved = [step.place.uri, *fetched] if delivers else fetched
    workspace = next((each for each in pod.spec.containers[0].volume_mounts if each.mount_path == WORKSPACE_PATH), None)
    tops = list(dict.fromkeys(_top(data_path(uri)) for uri in involved))
    own = [top for top in tops if workspace is None or not top.startswith(WORKSPACE_PATH)]
    volumes, mounts = _directories(own)
    carriers = (*mounts, workspace) if workspace is not None and own != tops else mounts
    env = _stores(carriage.sources, pod) if carriage.sources else ()
    containers: list[Container] = []
    if fetched:
        containers.append(_container(FETCH, carriage, ("fetch", *fetched), env, carriers))
    if delivers:
        containers.append(_deliverer(carriage, (step.place.uri, *fetched), env, carriers))
    pod = _with(pod, volumes, mounts)
    pod = _with(pod, *_of_files(files))
    spec = msgspec.structs.replace(pod.spec, init_containers=(*containers, *pod.spec.init_containers))
    if delivers and spec.termination_grace_period_seconds is None:
        spec = msgspec.structs.replace(spec, termination_grace_period_seconds=carriage.grace_seconds)
    return msgspec.structs.replace(pod, spec=spec)


def undelivered(pod: Pod) -> str:
    """Why the outputs of a step that ended well are not in their store; empty when they are, or were never carried."""
    if not any(container.name == DELIVER for container in pod.spec.init_containers):
        return ""
    status: ContainerStatus | None = next(
        (each for each in pod.status.init_container_statuses if each.name == DELIVER), None
    )
    ended = status.state.terminated if status else None
    if ended is None:
        return "the outputs were not uploaded: the sidecar that carries them never ended"
    if ended.exit_code:
        return ended.message.strip() or f"the outputs were not uploaded: {ended.reason or 'exit'} {ended.exit_code}"
    return ""


def _input_uris(step: Step) -> Iterator[str]:
    for several in step.inputs.artifacts.values():
        for artifact in several:
            if not in_workspace(artifact.metadata):
                yield artifact.uri


def _with(pod: Pod, volumes: Sequence[Volume], mounts: Sequence[VolumeMount]) -> Pod:
    """The pod with mounts in its main container; they come first, because others may stand in them."""
    main = pod.spec.containers[0]
    main = msgspec.structs.replace(main, volume_mounts=(*mounts, *main.volume_mounts))
    spec = msgspec.structs.replace(
        pod.spec, containers=(main, *pod.spec.containers[1:]), volumes=(*volumes, *pod.spec.volumes)
    )
    return msgspec.structs.replace(pod, spec=spec)


def _directories(tops: Sequence[str]) -> tuple[Sequence[Volume], Sequence[VolumeMount]]:
    """An empty directory for each of the SDK's prefixes that occurs and is not in the workspace."""
    names = {top: f"carried-{posixpath.basename(top).strip(':')}" for top in tops}
    volumes = [Volume(name=name, empty_dir=EmptyDirVolume()) for name in names.values()]
    return volumes, [VolumeMount(name=name, mount_path=top) for top, name in names.items()]


def _top(path: str) -> str:
    """``/s3`` of ``/s3/bucket/key``, ``/kfp-workspace/.artifacts/https:`` of what is below it."""
    parts = path.split("/")
    return "/".join(parts[: _FOUR_PARTS if parts[2:3] == [".artifacts"] else 2])


def _of_files(uris: Sequence[str]) -> tuple[Sequence[Volume], Sequence[VolumeMount]]:
    """Files and folders of the machine, read-only; which of them are open to pods is the node's to say."""
    volumes: list[Volume] = []
    mounts: list[VolumeMount] = []
    for number, uri in enumerate(uris):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise PodProblem(f"the input {uri} names another machine: write file:///path")
        name = f"file-{number}"
        volumes.append(Volume(name=name, host_path=HostPathVolume(path=posixpath.normpath(unquote(parts.path)))))
        mounts.append(VolumeMount(name=name, mount_path=data_path(uri), read_only=True))
    return volumes, mounts


def _stores(sources: Sequence[Source], pod: Pod) -> tuple[EnvVar, ...]:
    """The table, and each credential in a variable of its own that its Secret fills.

    Where the environment tells, it is the step's that does, as if it carried its data itself.
    """
    tables = list[Any]()
    variables = list[EnvVar]()
    for number, source in enumerate(sources):
        names: dict[str, str] = {}
        for what, secret in source.secrets.items():
            names[what] = _VARIABLE.format(number, what.upper())
            origin = EnvVarSource(secret_key_ref=KeySelector(name=secret.name, key=secret.key))
            variables.append(EnvVar(name=names[what], value_from=origin))
        tables.append(msgspec.structs.replace(source.place, credentials=names))
    if not all(source.secrets for source in sources):
        variables += [each for each in pod.spec.containers[0].env if each.name.startswith(_CREDENTIALS)]
    return (EnvVar(name=STORES, value=_literal(msgspec.json.encode(tables).decode())), *variables)


def _literal(text: str) -> str:
    """Kubernetes reads ``$(NAME)`` as a variable and ``$$`` as ``$``."""
    return text.replace("$", "$$")


def _container(
    name: str, carriage: Carriage, args: Sequence[str], env: Sequence[EnvVar], mounts: Sequence[VolumeMount]
) -> Container:
    return Container(
        name=name,
        image=carriage.image,
        command=_COMMAND,
        args=tuple(map(_literal, args)),
        env=tuple(env),
        volume_mounts=tuple(mounts),
        resources=_RESOURCES,
        termination_message_policy="FallbackToLogsOnError",
    )


def _deliverer(
    carriage: Carriage, uris: Sequence[str], env: Sequence[EnvVar], mounts: Sequence[VolumeMount]
) -> Container:
    ready = Probe(exec=ExecAction(command=("test", "-e", READY)), period_seconds=1, failure_threshold=_STARTUP_SECONDS)
    container = _container(DELIVER, carriage, ("deliver", *uris), env, mounts)
    return msgspec.structs.replace(container, restart_policy="Always", startup_probe=ready)
