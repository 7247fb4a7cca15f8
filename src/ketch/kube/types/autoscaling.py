"""autoscaling/v2: HorizontalPodAutoscaler."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import Condition, KubeObject, Resource


class ScaleTarget(KubeStruct, frozen=True, kw_only=True):
    """What is scaled, by its scale subresource."""

    kind: str = ""
    name: str = ""
    api_version: str = ""


class ScalingPolicy(KubeStruct, frozen=True, kw_only=True):
    """So many Pods, or Percent of them, within ``period_seconds``."""

    type: str
    value: int
    period_seconds: int


class ScalingRules(KubeStruct, frozen=True, kw_only=True):
    """How fast one way: ``select_policy`` is Max, Min or Disabled; None leaves the default."""

    stabilization_window_seconds: int | None = None
    select_policy: str | None = None
    policies: tuple[ScalingPolicy, ...] = ()
    tolerance: str | None = None


class ScalingBehavior(KubeStruct, frozen=True, kw_only=True):
    """How fast, either way."""

    scale_up: ScalingRules = ScalingRules()
    scale_down: ScalingRules = ScalingRules()


class AutoscalerSpec(KubeStruct, frozen=True, kw_only=True):
    """Between which sizes, and by which metrics (as JSON: a kind has one of five sources)."""

    scale_target_ref: ScaleTarget = ScaleTarget()
    min_replicas: int | None = None
    max_replicas: int = 0
    metrics: tuple[Mapping[str, Any], ...] = ()
    behavior: ScalingBehavior = ScalingBehavior()


class AutoscalerStatus(KubeStruct, frozen=True, kw_only=True):
    """Sizes and metrics as last seen; ``desired_replicas`` is required by the API."""

    observed_generation: int = 0
    last_scale_time: datetime | None = None
    current_replicas: int = 0
    desired_replicas: int | None = None
    current_metrics: tuple[Mapping[str, Any], ...] = ()
    conditions: tuple[Condition, ...] = ()


class HorizontalPodAutoscaler(KubeObject, frozen=True, kw_only=True):
    """Keeps a workload as large as its pods' use asks for."""

    resource: ClassVar = Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")

    spec: AutoscalerSpec = AutoscalerSpec()
    status: AutoscalerStatus = AutoscalerStatus()
