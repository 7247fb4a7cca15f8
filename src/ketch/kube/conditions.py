"""Conditions: what an object's controller says of it, as values."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import msgspec

from ketch.kube.meta import Condition

C = TypeVar("C", bound=Condition)


def set_conditions(old: Iterable[C], *new: C, generation: int = 0, now: datetime) -> tuple[C, ...]:
    """``new`` merged over ``old`` by type; a condition keeps its time until its status changes.

    ``generation`` goes into observedGeneration; leave it 0 for kinds whose conditions lack that field (Deployment,
    ReplicaSet, Job, Node). Times are whole seconds, as the API stores them. The order of ``old`` is kept.
    """
    merged = {condition.type: condition for condition in old}
    for condition in new:
        before = merged.get(condition.type)
        flipped = before is None or before.status != condition.status
        since = now.replace(microsecond=0) if before is None or flipped else before.last_transition_time
        merged[condition.type] = msgspec.structs.replace(
            condition, observed_generation=generation, last_transition_time=since
        )
    return tuple(merged.values())


def find(conditions: Iterable[C], type: str) -> C | None:  # noqa: A002  # the API's word
    """The condition of that type."""
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Iterable[Condition], *types: str) -> bool:
    """Whether any condition of ``types`` is "True"."""
    return any(condition.status == "True" and condition.type in types for condition in conditions)
