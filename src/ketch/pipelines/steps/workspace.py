"""The workspace: one volume that a run's tasks share, as a claim that lives as long as the run. Pure."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.containers import ResourceRequirements, VolumeMount
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.kube.types.volumes import ClaimSpec, ClaimVolume, Volume
from ketch.pipelines.ir.platform import Workspace
from ketch.pipelines.steps.layout import WORKSPACE_PATH, in_workspace
from ketch.pipelines.steps.step import APP_LABELS, RUN_LABEL, PodProblem, Step

WORKSPACE_VOLUME: Final = "kfp-workspace"
_PLACEHOLDER: Final = "{{$.workspace_path}}"
_DEFAULT_MODES: Final = ("ReadWriteOnce",)


def claim_name(run_id: str) -> str:
    """The run's claim: the same whenever it is asked for."""
    return f"workspace-{run_id}"


def claim(namespace: str, run_id: str, workspace: Workspace) -> PersistentVolumeClaim:
    """The claim that the run needs."""
    patch = workspace.kubernetes.pvc_spec_patch
    labels = {**APP_LABELS, RUN_LABEL: run_id, "app.kubernetes.io/component": "workspace"}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=claim_name(run_id), namespace=namespace, labels=labels),
        spec=ClaimSpec(
            access_modes=patch.access_modes or _DEFAULT_MODES,
            resources=ResourceRequirements(requests={"storage": workspace.size}),
            storage_class_name=patch.storage_class_name,
        ),
    )


def mounted(step: Step, pod: Pod) -> Pod:
    """The pod with the workspace, if the task refers to it. Raises PodProblem when the run has none."""
    if not step.workspace:
        if _names_it(step):
            raise PodProblem("the task uses the workspace, but the pipeline has none: set PipelineConfig.workspace")
        return pod
    if not _refers(step):
        return pod
    volume = Volume(name=WORKSPACE_VOLUME, persistent_volume_claim=ClaimVolume(claim_name=step.workspace))
    main = pod.spec.containers[0]
    mount = VolumeMount(name=WORKSPACE_VOLUME, mount_path=WORKSPACE_PATH)
    main = msgspec.structs.replace(main, volume_mounts=(*main.volume_mounts, mount))
    spec = msgspec.structs.replace(
        pod.spec, containers=(main, *pod.spec.containers[1:]), volumes=(*pod.spec.volumes, volume)
    )
    return msgspec.structs.replace(pod, spec=spec)


def _names_it(step: Step) -> bool:
    return any(_PLACEHOLDER in text for text in _texts(step))


def _refers(step: Step) -> bool:
    """By its placeholder or by its path, in the code or in a value; or because an input is in it."""
    if any(_PLACEHOLDER in text or WORKSPACE_PATH in text for text in _texts(step)):
        return True
    inputs = step.inputs
    return _mentions(inputs.parameters) or any(
        in_workspace(artifact.metadata) for several in inputs.artifacts.values() for artifact in several
    )


def _texts(step: Step) -> tuple[str, ...]:
    container = step.container
    return (*container.command, *container.args, *(item.value for item in container.env))


def _mentions(value: Any) -> bool:
    if isinstance(value, str):
        return WORKSPACE_PATH in value
    if isinstance(value, Mapping):
        return any(_mentions(item) for item in cast("Mapping[str, Any]", value).values())
    return isinstance(value, list) and any(_mentions(item) for item in cast("list[Any]", value))
