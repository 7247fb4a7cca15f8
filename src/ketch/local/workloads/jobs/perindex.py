"""Indexed Jobs that count failures by index: ``backoffLimitPerIndex`` and ``maxFailedIndexes``. Pure.

A pod carries how often its index had failed before it, so that the newest pod of an index knows the whole count.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from ketch.kube.types.batch import Job
from ketch.kube.types.pods import Pod
from ketch.local.workloads.jobs import indexes
from ketch.local.workloads.jobs.failures import FAIL_INDEX, IGNORE, delay, judge
from ketch.local.workloads.pods import FAILED

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"


def counts_by_index(job: Job) -> bool:
    """Whether each index has a limit of its own."""
    return job.spec.backoff_limit_per_index is not None and job.spec.completion_mode == "Indexed"


def _number(pod: Pod, annotation: str) -> int | None:
    text = pod.metadata.annotations.get(annotation, "")
    return int(text) if text.isdecimal() else None


def failures_of(job: Job, pods: Iterable[Pod]) -> Counter[int]:
    """How often each index has failed, as far as its pods tell."""
    found: Counter[int] = Counter()
    for pod in pods:
        index = _number(pod, INDEX)
        if index is not None:
            counts = pod.status.phase == FAILED and judge(job, pod).action != IGNORE
            found[index] = max(found[index], (_number(pod, FAILURES) or 0) + counts)
    return found


def failed_indexes(job: Job, pods: Sequence[Pod], completed: Collection[int]) -> frozenset[int]:
    """Indexes that are given up: for good, as the status says, or by now."""
    limit = job.spec.backoff_limit_per_index
    if limit is None or not counts_by_index(job):
        return frozenset()
    over = {index for index, count in failures_of(job, pods).items() if count > limit}
    told = {
        index
        for pod in pods
        if pod.status.phase == FAILED
        and (index := _number(pod, INDEX)) is not None
        and judge(job, pod).action == FAIL_INDEX
    }
    return frozenset((indexes.parse(job.status.failed_indexes) | over | told) - set(completed))


def ready_indexes(
    pods: Iterable[Pod], free: Iterable[int], count: int, now: datetime
) -> tuple[list[int], float | None]:
    """Up to ``count`` of the free indexes whose back-off is over, and seconds until the next one's is."""
    by_index: dict[int, list[Pod]] = {}
    for pod in pods:
        if (index := _number(pod, INDEX)) is not None:
            by_index.setdefault(index, []).append(pod)
    ready: list[int] = []
    waits: list[float] = []
    for index in free:
        wait = delay(by_index.get(index, ()), now)
        if wait > 0:
            waits.append(wait)
        elif len(ready) < count:
            ready.append(index)
    return ready, min(waits, default=None)
