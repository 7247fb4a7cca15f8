"""How fast a wanted size may come about: windows in which to wait and see, and policies. Pure but for its memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, floor
from typing import NamedTuple

from ketch.kube.types.autoscaling import AutoscalerSpec, ScalingPolicy, ScalingRules

UP_WINDOW, DOWN_WINDOW = 0, 300
"""Seconds in which the least, or the most, that was asked for counts, unless the autoscaler says otherwise."""
UP_POLICIES = (
    ScalingPolicy(type="Pods", value=4, period_seconds=15),
    ScalingPolicy(type="Percent", value=100, period_seconds=15),
)
DOWN_POLICIES = (ScalingPolicy(type="Percent", value=100, period_seconds=15),)
DISABLED, LEAST = "Disabled", "Min"
PODS = "Pods"
MEMORY = timedelta(hours=1)
"""The longest window and period."""


class Outcome(NamedTuple):
    """The size to have now; what holds it back in words: reasons and messages of AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]


WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
READY = ("ReadyForNewScale", "recommended size matches current size")


@dataclass
class Memory:
    """What was recommended and done of late."""

    recommended: list[tuple[datetime, int]] = field(default_factory=list[tuple[datetime, int]])
    changes: list[tuple[datetime, int]] = field(default_factory=list[tuple[datetime, int]])

    def forget(self, now: datetime) -> None:
        """Drop what is too old for any window."""
        self.recommended = [each for each in self.recommended if each[0] > now - MEMORY]
        self.changes = [each for each in self.changes if each[0] > now - MEMORY]


def settle(spec: AutoscalerSpec, current: int, wanted: int, memory: Memory, now: datetime) -> Outcome:
    """The size to have now, for one that metrics ask for."""
    up, down = spec.behavior.scale_up, spec.behavior.scale_down
    memory.forget(now)
    calm, able = _stabilized(up, down, current, wanted, memory, now)
    memory.recommended.append((now, wanted))
    least = 1 if spec.min_replicas is None else spec.min_replicas
    if calm > current:
        most = _up_limit(up, current, memory, now)
        bound = min(most, spec.max_replicas)
        if calm > bound:
            if most > spec.max_replicas:
                return Outcome(bound, able, _too_many())
            text = "the desired replica count is increasing faster than the maximum scale rate"
            return Outcome(bound, able, ("ScaleUpLimit", text))
    elif calm < current:
        fewest = _down_limit(down, current, memory, now)
        bound = max(fewest, least)
        if calm < bound:
            if fewest < least:
                return Outcome(bound, able, _too_few())
            text = "the desired replica count is decreasing faster than the maximum scale rate"
            return Outcome(bound, able, ("ScaleDownLimit", text))
    if calm > spec.max_replicas:
        return Outcome(spec.max_replicas, able, _too_many())
    if calm < least:
        return Outcome(least, able, _too_few())
    return Outcome(calm, able, WITHIN)


def _too_many() -> tuple[str, str]:
    return "TooManyReplicas", "the desired replica count is more than the maximum replica count"


def _too_few() -> tuple[str, str]:
    return "TooFewReplicas", "the desired replica count is less than the minimum replica count"


def _stabilized(
    up: ScalingRules, down: ScalingRules, current: int, wanted: int, memory: Memory, now: datetime
) -> tuple[int, tuple[str, str]]:
    """What all recommendations of the windows agree on."""
    up_window = UP_WINDOW if up.stabilization_window_seconds is None else up.stabilization_window_seconds
    down_window = DOWN_WINDOW if down.stabilization_window_seconds is None else down.stabilization_window_seconds

    def over(seconds: int, choose: Callable[[Iterable[int]], int]) -> int:
        recent = (size for moment, size in memory.recommended if moment > now - timedelta(seconds=seconds))
        return choose((wanted, *recent))

    calm = max(current, over(up_window, min))
    calm = min(calm, over(down_window, max))
    if calm == wanted or calm != current:
        return calm, READY
    if wanted > current:
        return calm, ("ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest")
    return calm, ("ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest")


def _up_limit(rules: ScalingRules, current: int, memory: Memory, now: datetime) -> int:
    if rules.select_policy == DISABLED:
        return current
    sizes: list[int] = []
    for policy in rules.policies or UP_POLICIES:
        start = current - sum(max(0, change) for change in _changes(memory, policy, now))
        step = policy.value if policy.type == PODS else ceil(start * policy.value / 100)
        sizes.append(max(current, start + step))
    return min(sizes) if rules.select_policy == LEAST else max(sizes)


def _down_limit(rules: ScalingRules, current: int, memory: Memory, now: datetime) -> int:
    if rules.select_policy == DISABLED:
        return current
    sizes: list[int] = []
    for policy in rules.policies or DOWN_POLICIES:
        start = current + sum(max(0, -change) for change in _changes(memory, policy, now))
        left = start - policy.value if policy.type == PODS else floor(start * (100 - policy.value) / 100)
        sizes.append(min(current, left))
    return max(sizes) if rules.select_policy == LEAST else min(sizes)


def _changes(memory: Memory, policy: ScalingPolicy, now: datetime) -> list[int]:
    since = now - timedelta(seconds=policy.period_seconds)
    return [change for moment, change in memory.changes if moment > since]
