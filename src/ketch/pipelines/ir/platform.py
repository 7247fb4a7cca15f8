"""The second document of a specification: what it says of Kubernetes for the pipeline and for each executor.

An executor's configuration stays plain JSON here: who applies it to pods reads it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from ketch.pipelines.ir.reading import SpecError
from ketch.pipelines.ir.spec import ComponentSpec, JSONObject, Message

KUBERNETES: Final = "kubernetes"
_FIELD: Final = "platforms.kubernetes.pipelineConfig"
_SIZE = re.compile(r"^\d+(?:\.\d+)?(?:Ki|Mi|Gi|Ti|Pi|Ei|K|M|G|T|P|E)?$")
_MOST_SECONDS: Final = 2**31  # the field is an int32
_NONE: Mapping[str, Any] = {}


class ClaimPatch(Message, frozen=True):
    """What the user changes of the workspace's claim."""

    access_modes: tuple[str, ...] = ()
    storage_class_name: str | None = None


class KubernetesWorkspace(Message, frozen=True):
    """How the workspace is to be had."""

    pvc_spec_patch: ClaimPatch = ClaimPatch()


class Workspace(Message, frozen=True):
    """A volume that all tasks of a run share."""

    size: str = ""
    kubernetes: KubernetesWorkspace = KubernetesWorkspace()


class PipelineConfig(Message, frozen=True):
    """What holds for a run as a whole. Times are seconds; 0 is none."""

    resource_ttl_on_completion: int = 0
    resource_ttl_on_success: int = 0
    resource_ttl_on_failure: int = 0
    active_deadline_seconds: int = 0
    workspace: Workspace | None = None

    @property
    def seconds_kept(self) -> tuple[int, int]:
        """How long resources stay after success and after failure; the particular setting comes first."""
        common = self.resource_ttl_on_completion
        return self.resource_ttl_on_success or common, self.resource_ttl_on_failure or common


def pipeline_config(platform: Mapping[str, Any] | None) -> PipelineConfig:
    """The pipeline's part of the document. Raises SpecError, naming the field."""
    config = _mapping(platform, "platforms", KUBERNETES, "pipelineConfig")
    try:
        read = msgspec.convert(config, PipelineConfig)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$")
        raise SpecError(f"{_FIELD}{place.rstrip('`')}", words) from error
    for name in ("resource_ttl_on_completion", "resource_ttl_on_success", "resource_ttl_on_failure"):
        _check_seconds(name, getattr(read, name))
    _check_seconds("active_deadline_seconds", read.active_deadline_seconds)
    if read.workspace and not _SIZE.match(read.workspace.size):
        raise SpecError(f"{_FIELD}.workspace.size", f"{read.workspace.size!r} is no quantity such as 10Gi")
    return read


def executor_config(platform: Mapping[str, Any] | None, component: ComponentSpec) -> JSONObject:
    """What the document, or the component itself, says of a component's executor."""
    own: Mapping[str, Any] = _NONE
    for each in component.single_platform_specs:
        if each.get("platform") in ("", None, KUBERNETES):
            own = _mapping(each, "deploymentSpec", "executors", component.executor_label) or _mapping(each, "config")
    path = ("platforms", KUBERNETES, "deploymentSpec", "executors", component.executor_label)
    return {**own, **_mapping(platform, *path)}


def _check_seconds(name: str, value: int) -> None:
    if value < 0:
        raise SpecError(f"{_FIELD}.{name}", f"must not be negative, but is {value}")
    if value >= _MOST_SECONDS:
        raise SpecError(f"{_FIELD}.{name}", f"must be less than {_MOST_SECONDS}, but is {value}")


def _mapping(value: Any, *keys: str) -> Mapping[str, Any]:
    """The object at the end of ``keys``, empty when there is none."""
    for key in keys:
        value = cast("Mapping[str, Any]", value).get(key) if isinstance(value, Mapping) else None
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else _NONE
