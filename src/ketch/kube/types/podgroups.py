"""scheduling.x-k8s.io/v1alpha1: PodGroup, pods that are placed together (as the coscheduling plugin reads it)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Final

from msgspec import Meta, field

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import KubeObject, Resource

POD_GROUP_LABEL: Final = "scheduling.x-k8s.io/pod-group"
"""On a pod: the name of its PodGroup, in its namespace."""


class PodGroupSpec(KubeStruct, frozen=True, kw_only=True):
    """How many of the group's pods must be placed for any of them to be.

    ``min_resources`` must be free (or the group's own) in all before any pod is placed. ``schedule_timeout_seconds`` is
    how long room may be kept from others for a group that has waited.
    """

    min_member: Annotated[int, Meta(ge=1)] | None = None
    min_resources: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    schedule_timeout_seconds: Annotated[int, Meta(ge=0)] | None = None


class PodGroupStatus(KubeStruct, frozen=True, kw_only=True):
    """How far the group has come.

    ``phase`` is Pending, PreScheduling, Scheduling, Scheduled, Running, Finished or Failed. ``occupied_by`` names the
    object that the group's pods belong to.
    """

    phase: str = ""
    occupied_by: str = ""
    scheduled: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    schedule_start_time: datetime | None = None


class PodGroup(KubeObject, frozen=True, kw_only=True):
    """Pods that are placed together or not at all."""

    resource: ClassVar = Resource("scheduling.x-k8s.io", "v1alpha1", "PodGroup", "podgroups")

    spec: PodGroupSpec = PodGroupSpec()
    status: PodGroupStatus = PodGroupStatus()
