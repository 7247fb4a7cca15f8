"""A step's data as volumes: one directory for all it leaves behind, its input artifacts read-only where they belong."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from ketch.kube.types.containers import VolumeMount
from ketch.kube.types.volumes import InlineCSIVolume, Volume
from ketch.pipelines.steps.layout import in_workspace, local_path, object_key
from ketch.pipelines.steps.step import PodProblem, Step
from ketch.pipelines.values import Values

OBJECTS_DRIVER: Final = "objects.ketch.dev"

Mounted = tuple[Sequence[Volume], Sequence[VolumeMount]]


def of_objects(step: Step, present: Collection[str]) -> Mounted:
    """The outputs' directory and the inputs that are ``present`` (by URI), of what is in the store that is here.

    Raises PodProblem.
    """
    volumes: list[Volume] = []
    mounts: list[VolumeMount] = []
    if not step.carriage.is_remote(step.place.uri):
        key = step.place.key
        if key is None:
            raise PodProblem(f"the pipeline root of {step.place.uri} is no object store that is known here")
        volumes.append(_objects("outputs", key))
        mounts.append(VolumeMount(name="outputs", mount_path=step.place.path))
    here = {uri for uri in present if not step.carriage.is_remote(uri)}
    for number, (path, source) in enumerate(_input_mounts(step.inputs, here).items()):
        name = f"input-{number}"
        volumes.append(_objects(name, source, read_only=True))
        mounts.append(VolumeMount(name=name, mount_path=path, read_only=True))
    return volumes, mounts


def _objects(name: str, key: str, *, read_only: bool | None = None) -> Volume:
    source = InlineCSIVolume(driver=OBJECTS_DRIVER, read_only=read_only, volume_attributes={"path": key})
    return Volume(name=name, csi=source)


def _input_mounts(inputs: Values, present: Collection[str]) -> Mapping[str, str]:
    """Keys by the path where each belongs. What lies within another comes along with it."""
    wanted: dict[str, str] = {}
    for artifacts in inputs.artifacts.values():
        for artifact in artifacts:
            key = object_key(artifact.uri)
            if key is not None and artifact.uri in present and not in_workspace(artifact.metadata):
                wanted[local_path(artifact.uri.partition("?")[0]).rstrip("/")] = key
    chosen: dict[str, Any] = {}
    last = ""
    for path in sorted(wanted, key=lambda each: each.split("/")):
        if not last or not path.startswith(f"{last}/"):
            chosen[path] = wanted[path]
            last = path
    return chosen
