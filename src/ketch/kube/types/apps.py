"""apps/v1: Deployment, ReplicaSet, StatefulSet, DaemonSet, and the history that the last two keep."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import Condition, KubeObject, LabelSelector, Resource
from ketch.kube.types.containers import NOTHING, IntOrString
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import PodTemplateSpec

NO_SELECTOR = LabelSelector()


class RollingUpdateDeployment(KubeStruct, frozen=True, kw_only=True):
    """How far a roll-out may go below and above the wanted count; a number or "25%"."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DeploymentStrategy(KubeStruct, frozen=True, kw_only=True):
    """``type`` is RollingUpdate or Recreate."""

    type: str = ""
    rolling_update: RollingUpdateDeployment | None = None


class DeploymentSpec(KubeStruct, frozen=True, kw_only=True):
    """Pods to keep running, and how to replace them."""

    replicas: int | None = None
    selector: LabelSelector = NO_SELECTOR
    template: PodTemplateSpec = PodTemplateSpec()
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


class DeploymentCondition(Condition, frozen=True, kw_only=True):
    """Available, Progressing or ReplicaFailure."""

    last_update_time: datetime | None = None


class DeploymentStatus(KubeStruct, frozen=True, kw_only=True):
    """Counts of pods."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int | None = None
    conditions: tuple[DeploymentCondition, ...] = ()
    collision_count: int | None = None


class Deployment(KubeObject, frozen=True, kw_only=True):
    """Replicas of a pod, replaced step by step when the template changes."""

    resource: ClassVar = Resource("apps", "v1", "Deployment", "deployments")

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(KubeStruct, frozen=True, kw_only=True):
    """So many pods of this template."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector = NO_SELECTOR
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicaSetStatus(KubeStruct, frozen=True, kw_only=True):
    """Counts of pods; ``replicas`` is required by the API, so zero is sent as well."""

    replicas: int | None = None
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(KubeObject, frozen=True, kw_only=True):
    """Replicas of one fixed template."""

    resource: ClassVar = Resource("apps", "v1", "ReplicaSet", "replicasets")

    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class RollingUpdateStatefulSet(KubeStruct, frozen=True, kw_only=True):
    """Only ordinals from ``partition`` on are replaced."""

    partition: int | None = None
    max_unavailable: IntOrString | None = None


class StatefulSetUpdateStrategy(KubeStruct, frozen=True, kw_only=True):
    """``type`` is RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateStatefulSet | None = None


class StatefulSetOrdinals(KubeStruct, frozen=True, kw_only=True):
    """The first pod's number."""

    start: int = 0


class ClaimRetentionPolicy(KubeStruct, frozen=True, kw_only=True):
    """What becomes of claims when the set goes, and when it shrinks: Retain or Delete."""

    when_deleted: str = ""
    when_scaled: str = ""


class StatefulSetSpec(KubeStruct, frozen=True, kw_only=True):
    """Numbered pods with names and volumes that stay."""

    replicas: int | None = None
    selector: LabelSelector = NO_SELECTOR
    template: PodTemplateSpec = PodTemplateSpec()
    volume_claim_templates: tuple[PersistentVolumeClaim, ...] = ()
    service_name: str = ""
    pod_management_policy: str = ""
    update_strategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    revision_history_limit: int | None = None
    min_ready_seconds: int = 0
    persistent_volume_claim_retention_policy: ClaimRetentionPolicy = ClaimRetentionPolicy()
    ordinals: StatefulSetOrdinals = StatefulSetOrdinals()


class StatefulSetStatus(KubeStruct, frozen=True, kw_only=True):
    """Counts of pods and the revisions they have; ``replicas`` is required by the API."""

    observed_generation: int = 0
    replicas: int | None = None
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int | None = None
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


class StatefulSet(KubeObject, frozen=True, kw_only=True):
    """Pods that each keep a name and volumes of their own."""

    resource: ClassVar = Resource("apps", "v1", "StatefulSet", "statefulsets")

    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class RollingUpdateDaemonSet(KubeStruct, frozen=True, kw_only=True):
    """On how many nodes the pod may be missing, or be there twice, meanwhile; a number or "10%"."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DaemonSetUpdateStrategy(KubeStruct, frozen=True, kw_only=True):
    """``type`` is RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(KubeStruct, frozen=True, kw_only=True):
    """A pod for each node that it may run on."""

    selector: LabelSelector = NO_SELECTOR
    template: PodTemplateSpec = PodTemplateSpec()
    update_strategy: DaemonSetUpdateStrategy = DaemonSetUpdateStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None


class DaemonSetStatus(KubeStruct, frozen=True, kw_only=True):
    """Counts of nodes; the API requires the first four."""

    current_number_scheduled: int | None = None
    number_misscheduled: int | None = None
    desired_number_scheduled: int | None = None
    number_ready: int | None = None
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


class DaemonSet(KubeObject, frozen=True, kw_only=True):
    """The same pod on every node."""

    resource: ClassVar = Resource("apps", "v1", "DaemonSet", "daemonsets")

    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class ControllerRevision(KubeObject, frozen=True, kw_only=True):
    """A template that a StatefulSet or DaemonSet had, as the patch that brings it back."""

    resource: ClassVar = Resource("apps", "v1", "ControllerRevision", "controllerrevisions")

    data: Mapping[str, Any] = NOTHING
    revision: int | None = None
