"""When an Indexed Job has succeeded before all of its indexes have: its successPolicy. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ketch.kube.types.batch import Job
from ketch.local.workloads.jobs import indexes


def met_rule(job: Job, completed: Collection[int]) -> int | None:
    """The number of the first rule that the completed indexes meet; None while none is met."""
    rules: Sequence[Mapping[str, Any]] = job.spec.success_policy.get("rules") or ()
    return next((number for number, rule in enumerate(rules) if _is_met(rule, completed)), None)


def _is_met(rule: Mapping[str, Any], completed: Collection[int]) -> bool:
    """All of the rule's indexes, or as many of them as it says; without indexes it means any."""
    text, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if text is None:
        return count is not None and len(completed) >= count
    runs = indexes.runs_of(text)
    reached = sum(any(first <= index <= last for first, last in runs) for index in completed)
    wanted = count if count is not None else sum(last - first + 1 for first, last in runs)
    return 0 < wanted <= reached
