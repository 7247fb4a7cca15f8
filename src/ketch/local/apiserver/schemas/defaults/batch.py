"""Defaults of batch/v1."""

from typing import Any

from ketch.local.apiserver.schemas.defaults.core import pod_spec

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
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
    if isinstance(template := spec.get("template"), dict):
        pod_spec(template.setdefault("spec", {}))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


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
    if isinstance(template := spec.get("jobTemplate"), dict) and isinstance(inner := template.get("spec"), dict):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(pods := inner.get("template"), dict):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            pod_spec(pods.setdefault("spec", {}))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
