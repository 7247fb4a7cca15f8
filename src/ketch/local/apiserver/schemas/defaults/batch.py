"""Defaults of batch/v1."""

from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.schemas.defaults.core import dicts, pod_spec

Obj = dict[str, Any]
BACKOFF_LIMIT = 6
NO_BACKOFF_LIMIT = 2**31 - 1


def _job_spec(spec: Obj) -> None:
    indexed = spec.get("completionMode") == "Indexed"
    # Neither given: one pod to run once. Only parallelism given: a work queue, whose completions stay open.
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", NO_BACKOFF_LIMIT if indexed and "backoffLimitPerIndex" in spec else BACKOFF_LIMIT)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    spec.setdefault("manualSelector", False)
    for rule in (spec.get("podFailurePolicy") or NOTHING).get("rules") or NO_ITEMS:
        for pattern in rule.get("onPodConditions") or NO_ITEMS:
            pattern.setdefault("status", "True")
    for template in dicts([spec.get("template")]):
        pod_spec(template.setdefault("spec", {}))


def job(obj: Obj) -> None:
    """A Job."""
    _job_spec(obj.setdefault("spec", {}))


def cron_job(obj: Obj) -> None:
    """A CronJob."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    for template in dicts([spec.get("jobTemplate")]):
        for inner in dicts([template.get("spec")]):
            for pods in dicts([inner.get("template")]):
                pod_spec(pods.setdefault("spec", {}))
