"""scheduling.x-k8s.io/v1alpha1: PodGroup, pods that are placed together (as the coscheduling plugin reads it)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from msgspec import Meta, field

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import KubeObject, Resource

POD_GROUP_LABEL: Final = "scheduling.x-k8s.io/pod-group"
"""On a pod: the name of its PodGroup, in its namespace."""


class PodGroupSpec(KubeStruct, frozen=True, kw_only=True):
    """How many of the group's pods must be placed for any of them to be."""

    min_member: Annotated[int, Meta(ge=1)] | None = None
    min_resources: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    schedule_timeout_seconds: Annotated[int, Meta(ge=0)] | None = None


class PodGroup(KubeObject, frozen=True, kw_only=True):
    """Pods that are placed together or not at all."""

    resource: ClassVar = Resource("scheduling.x-k8s.io", "v1alpha1", "PodGroup", "podgroups")

    spec: PodGroupSpec = PodGroupSpec()
