"""Between how many workers an elastic job may live, and what makes it grow and shrink. Pure."""

from collections.abc import Iterable
from typing import Final

from ketch.kube.causes import invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.training.jobs.framework import Autoscaling
from ketch.training.jobs.types import ElasticPolicy, PaddleElasticPolicy

Policy = ElasticPolicy | PaddleElasticPolicy

_PATH: Final = "spec.elasticPolicy"
_SOURCES: Final = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
"""Kinds of metrics, and where each says more."""


def bounds_of(policy: Policy, workers: int) -> tuple[int, int]:
    """Fewest and most workers; each stands in for the other, the workers that there are for both."""
    low, high = policy.min_replicas, policy.max_replicas
    return (low or high or workers), (high or low or workers)


def autoscaling_of(policy: Policy | None, workers: int) -> Autoscaling | None:
    """What the policy asks for; None when it has no metrics, or there are no workers."""
    if policy is None or not policy.metrics:
        return None
    low, high = bounds_of(policy, workers)
    return Autoscaling(low, high, policy.metrics) if high else None


def check_elastic(policy: Policy) -> Iterable[Cause]:
    """What is wrong with the policy."""
    low, high = policy.min_replicas, policy.max_replicas
    if low is not None and high is not None and low > high:
        yield invalid(f"{_PATH}.minReplicas", low, "must not be more than maxReplicas")
    for number, metric in enumerate(policy.metrics):
        here, kind = f"{_PATH}.metrics[{number}]", str(metric.get("type", ""))
        if kind not in _SOURCES:
            yield unsupported(f"{here}.type", kind, list(_SOURCES))
        elif not isinstance(metric.get(_SOURCES[kind]), dict):
            yield required(f"{here}.{_SOURCES[kind]}", f"which metric of type {kind}, and its target")
