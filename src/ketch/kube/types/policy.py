"""policy/v1: PodDisruptionBudget."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import Condition, KubeObject, LabelSelector, Resource
from ketch.kube.types.containers import IntOrString

NO_PODS: Mapping[str, datetime] = {}


class PodDisruptionBudgetSpec(KubeStruct, frozen=True, kw_only=True):
    """How many of the selected pods must serve, or may be missing; a number or "25%". One of the two is set."""

    min_available: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(KubeStruct, frozen=True, kw_only=True):
    """Counts of pods; the API requires all four. ``disrupted_pods`` are evicted and not yet seen to go."""

    observed_generation: int = 0
    disrupted_pods: Mapping[str, datetime] = NO_PODS
    disruptions_allowed: int | None = None
    current_healthy: int | None = None
    desired_healthy: int | None = None
    expected_pods: int | None = None
    conditions: tuple[Condition, ...] = ()


class PodDisruptionBudget(KubeObject, frozen=True, kw_only=True):
    """How many pods may be taken away on purpose at the same time."""

    resource: ClassVar = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")

    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()
